import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/error.ts";
import type { Command, Input } from "./args.ts";
import type { Acting } from "./as-user.ts";
import { actAs } from "./as-user.ts";
import { CommandError, EXIT, UsageError } from "./exit.ts";
import type { Incoming } from "./export-format.ts";
import { linesOf } from "./import-lines.ts";
import { isExport, readExport } from "./import-own.ts";
import { Batch } from "./import-batch.ts";
import { isTranscript, readTranscript } from "./import-transcript.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { visible } from "./table.ts";
import { TARGET_OPTIONS, findTarget } from "./target.ts";

export const importCommand: Command = {
  name: "import",
  summary: "sessions from an export, or from OpenClaw or Moltbot",
  usage: "FILE|DIRECTORY...",
  details: [
    "Reads what agentbus export wrote, and transcripts of OpenClaw, Moltbot and Clawdbot (.openclaw/agents/NAME/sessions/*.jsonl). A session",
    "that came in before is skipped, so the same file may be imported again. --dry-run asks no gateway: it says what there is and what",
    "cannot be represented.",
  ].join("\n"),
  args: [1, 10_000],
  options: {
    user: { value: "USER", short: "u", summary: "for another user; takes an administrator" },
    "keep-owners": { summary: "each for the user it was of, as the file says; takes an administrator" },
    "dry-run": { short: "n", summary: "only say what would come in" },
    json: { summary: "as JSON, one line for each session" },
    ...TARGET_OPTIONS,
  },
  run: async (input, io) => {
    const keeps = input.on("keep-owners");
    if (keeps && input.text("user") !== undefined)
      throw new UsageError("--keep-owners says whose they are: leave --user out");
    const files = input.args.flatMap((path) => filesIn(resolve(io.cwd, path)));
    const plans: Plan[] = [];
    for (const file of files) for await (const plan of plansOf(file)) plans.push(plan);
    const owners = new Set(plans.flatMap(({ owner }) => owner ?? []));
    if (owners.size > 1 && !keeps)
      io.err(
        `agentbus: they were of ${owners.size} users and come in for one: --keep-owners keeps them apart`,
      );
    if (input.on("dry-run")) {
      for (const plan of plans) tell(plan, "would come in", null, input, io);
      return EXIT.ok;
    }
    const scopes = ["chat.read" as const, "chat.write" as const, "sessions.manage" as const];
    const options = { client_name: "agentbus import", scopes, transport: "sse" as const };
    const target = findTarget(input, io);
    const importers = new Importers((user) => actAs(target, user, options));
    try {
      for (const file of files) await importFile(importers, file, plans, input, io);
    } finally {
      await importers.end();
    }
    return EXIT.ok;
  },
};

/** Those for whom sessions come in, one at a time: an export has the sessions of each together. */
class Importers {
  readonly #act: (user: string | null) => Promise<Acting>;
  #now: { readonly user: string | null; readonly acting: Acting } | null = null;

  constructor(act: (user: string | null) => Promise<Acting>) {
    this.#act = act;
  }

  async clientOf(user: string | null): Promise<Client> {
    if (this.#now?.user !== user) await this.end();
    this.#now ??= { user, acting: await this.#act(user) };
    return this.#now.acting.client;
  }

  async end(): Promise<void> {
    const before = this.#now;
    this.#now = null;
    await before?.acting.end();
  }
}

/** A session of a file, as far as it was looked at. */
interface Plan {
  readonly file: string;
  readonly place: number;
  readonly title: string;
  readonly name: string | null;
  readonly owner: string | null;
  /** Of all that comes in: the same session is the same again. */
  readonly digest: string;
  messages: number;
  files: number;
  readonly lost: Map<string, number>;
}

function filesIn(path: string): string[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new CommandError(`there is no file ${visible(path)}`);
  if (!stat.isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => name.endsWith(".jsonl"));
  if (names.length === 0) throw new CommandError(`${visible(path)} has no files that end in .jsonl`);
  return names.toSorted().map((name) => join(path, name));
}

async function* incoming(file: string): AsyncGenerator<Incoming> {
  for await (const first of linesOf(file)) {
    if (isExport(first)) return yield* readExport(file, linesOf(file));
    if (isTranscript(first)) return yield* readTranscript(() => linesOf(file));
    break;
  }
  throw new CommandError(
    `${visible(file)} is no export of agentbus, and no transcript of OpenClaw or Moltbot`,
  );
}

/** Reads a file through, so that nothing of one that is not whole comes in. */
async function* plansOf(file: string): AsyncGenerator<Plan> {
  let plan: Omit<Plan, "digest"> | null = null;
  let hash = createHash("sha256");
  let place = 0;
  for await (const each of incoming(file)) {
    if (each.kind === "session") {
      const { title = "", name = null } = each.about;
      const { owner } = each;
      plan = { file, place: place++, title, name, owner, messages: 0, files: 0, lost: new Map() };
      hash = createHash("sha256");
    }
    if (plan === null) continue;
    if (each.kind === "lost") plan.lost.set(each.what, (plan.lost.get(each.what) ?? 0) + 1);
    else if (each.kind === "file") hash.update(each.file.attachment_id).update(each.file.data);
    // Whose it is does not make it another.
    else if (each.kind === "session") hash.update(JSON.stringify({ kind: each.kind, about: each.about }));
    else hash.update(JSON.stringify(each));
    if (each.kind === "message") plan.messages++;
    if (each.kind === "file") plan.files++;
    if (each.kind === "end" && each.deleted !== true) yield { ...plan, digest: hash.digest("hex") };
  }
}

async function importFile(
  importers: Importers,
  file: string,
  plans: readonly Plan[],
  input: Input,
  io: Io,
): Promise<void> {
  const user = input.text("user") ?? null;
  const clientFor = ({ owner }: Plan) => importers.clientOf(input.on("keep-owners") ? owner : user);
  let batch: Batch | null = null;
  let place = 0;
  let plan: Plan | undefined;
  for await (const each of incoming(file)) {
    if (each.kind === "session") {
      const at = place++;
      plan = plans.find((known) => known.file === file && known.place === at);
      batch = plan === undefined ? null : new Batch(await clientFor(plan), each.about, plan.digest);
      await batch?.begin();
    }
    if (batch === null || plan === undefined) continue;
    try {
      if (each.kind === "file") await batch.file(each.file);
      if (each.kind === "message") await batch.message(each.message);
      if (each.kind !== "end") continue;
      const { status, session_id } = await batch.end();
      tell(plan, status === "skipped" ? "is there already" : "came in", session_id, input, io);
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      throw new CommandError(`${visible(file)}: session ${place} did not come in: ${error.message}`);
    }
  }
}

function tell(plan: Plan, what: string, session_id: string | null, input: Input, io: Io): void {
  const { file, title, name, owner, messages, files } = plan;
  const lost = Object.fromEntries(plan.lost);
  if (input.on("json"))
    return outJson(io, { file, title, name, owner, messages, files, lost, status: what, session_id });
  const whose = input.on("keep-owners") && owner !== null ? ` for ${owner}` : "";
  const as = (session_id === null ? "" : ` as ${session_id}`) + whose;
  const with_files = files === 0 ? "" : `, ${files} files`;
  io.out(
    visible(
      `${title === "" ? (name ?? "a session") : title}: ${messages} messages${with_files}, ${what}${as}`,
    ),
  );
  for (const [lost_what, count] of plan.lost) io.out(visible(`  without ${count} ${lost_what}`));
  return undefined;
}
