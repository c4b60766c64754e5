import type { StorageRefusal } from "../../core/operation.ts";

/** The parts of Bun's PostgresError that tell what happened: `errno` is the SQLSTATE, where the server answered. */
interface PostgresFailure {
  readonly name: string;
  readonly message: string;
  readonly code: string;
  readonly errno?: string;
}

function failureOf(error: unknown): PostgresFailure | null {
  if (!(error instanceof Error)) return null;
  const { code } = error as Partial<PostgresFailure>;
  return typeof code === "string" && code.startsWith("ERR_POSTGRES")
    ? (error as unknown as PostgresFailure)
    : null;
}

/** The server went away, ended the connection, or takes no other: SQLSTATE classes and codes. */
const GONE = /^(?:08|57P0[1-5]|53300$|25P03$)/;

/** Whether the connection is of no use any more, or there is none. What it was last told may have been done or not. */
export function isLost(error: unknown): boolean {
  const failure = failureOf(error);
  if (failure === null) return false;
  return failure.errno === undefined
    ? failure.code !== "ERR_POSTGRES_SERVER_ERROR"
    : GONE.test(failure.errno);
}

/** Two groups were in one another's way: the transaction was taken back, and the same again may succeed. */
export function isConflict(error: unknown): boolean {
  return ["40001", "40P01", "23505", "55P03"].includes(failureOf(error)?.errno ?? "");
}

const REFUSALS: ReadonlyMap<string, StorageRefusal> = new Map([
  ["53100", "full"],
  ["53200", "nomem"],
  ["53400", "full"],
  ["25006", "readonly"],
  ["57014", "busy"],
]);

/** Why the server refused, where an error is known to have changed nothing; null for every other error. */
export function refusalOf(error: unknown): StorageRefusal | null {
  if (isLost(error)) return "unreachable";
  if (isConflict(error)) return "busy";
  return REFUSALS.get(failureOf(error)?.errno ?? "") ?? null;
}

/** One line about an error, with its code where it has one. */
export function describeFailure(error: unknown): string {
  const failure = failureOf(error);
  if (failure !== null) return `${failure.errno ?? failure.code}: ${failure.message}`;
  return error instanceof Error ? error.message : String(error);
}

const ADVICE: readonly (readonly [pattern: RegExp, advice: string])[] = [
  [/^28/, "the user or the password of storage.url is not accepted"],
  [/^3D000/, "create the database first (createdb --encoding=UTF8 NAME), or name another in storage.url"],
  [/^42501/, "the user of storage.url needs CREATE on the database (GRANT CREATE ON DATABASE … TO …)"],
  [/^53300/, "the server has no connection left: raise its max_connections, or lower storage.connections"],
  [/^57P03/, "the server is starting or stopping: try again in a moment"],
  [
    /TLS_NOT_AVAILABLE|TLS_UPGRADE/,
    "the server does not speak TLS: turn its ssl on, or, in a network you trust, add ?sslmode=disable to storage.url",
  ],
  [/altnames/, "its certificate is for another name: write the one it has in storage.url"],
  [
    /CERT|SELF_SIGNED|UNABLE_TO|TLS/i,
    "its certificate is not trusted: name its authority with ?sslrootcert=FILE in storage.url",
  ],
  [/CONNECTION_|^08|TIMEOUT/, "is it running, and does storage.url name its address?"],
];

/** What to do about a server that cannot be used. */
export function adviceFor(error: unknown): string {
  const failure = failureOf(error);
  const what = [failure?.errno ?? "", failure?.code ?? "", describeFailure(error)];
  const found = ADVICE.find(([pattern]) => what.some((each) => pattern.test(each)));
  return found?.[1] ?? "see the reason and start again";
}
