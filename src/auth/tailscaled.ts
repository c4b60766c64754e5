import type { Clock } from "../core/ports.ts";

/** How long an answer may take, and how large it may be: those of tailscaled take a millisecond and some KiB. */
const DEADLINE_MS = 2_000;
const ANSWER_BYTES = 256 * 1024;
const LOGIN_CHARS = 256;
/** What tailscaled wants to be called; it refuses every other name, because a web page could send it. */
const HOST = "local-tailscaled.sock";
/** The login of machines that belong to nobody. */
const TAGGED = "tagged-devices";

/** tailscaled did not say who somebody is. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";
  /** Whether nothing came at all, so that the next question is not worth asking at once. */
  readonly silent: boolean;

  constructor(message: string, silent: boolean, cause?: unknown) {
    super(message, { cause });
    this.silent = silent;
  }
}

/**
 * Asks the LocalAPI behind a unix socket whose login the machine at `addr` (ip:port) has; null: nobody's, it is no
 * peer of the tailnet, or a tagged one.
 * @throws NoAnswer where the socket is absent or silent, or the answer is none
 */
export async function whois(socket: string, addr: string, clock: Clock): Promise<string | null> {
  const abort = new AbortController();
  const cancel = clock.after(DEADLINE_MS, () => abort.abort());
  try {
    const url = `http://${HOST}/localapi/v0/whois?addr=${encodeURIComponent(addr)}`;
    const response = await fetch(url, {
      unix: socket,
      signal: abort.signal,
      redirect: "manual",
      keepalive: false,
      // An answer as it is: nothing that grows when it is unpacked.
      decompress: false,
      headers: { "accept-encoding": "identity" },
    });
    const text = await readBounded(response);
    if (response.status === 404) return null;
    if (response.status === 200) return loginIn(text);
    throw new NoAnswer(`it answers HTTP ${response.status}`, false);
  } catch (error) {
    if (error instanceof NoAnswer) throw error;
    if (abort.signal.aborted) throw new NoAnswer(`no answer within ${DEADLINE_MS} ms`, true, error);
    throw new NoAnswer((error as NodeJS.ErrnoException).code ?? (error as Error).message, true, error);
  } finally {
    cancel();
    // Whatever still comes is not read.
    abort.abort();
  }
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > ANSWER_BYTES) throw new NoAnswer(`an answer of more than ${ANSWER_BYTES} bytes`, false);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** @throws NoAnswer */
function loginIn(text: string): string | null {
  const { Node: node, UserProfile: profile } = fieldsOf(parse(text));
  const { Tags: tags, Expired: expired } = fieldsOf(node);
  const { LoginName: login } = fieldsOf(profile);
  if (typeof login !== "string" || login.length > LOGIN_CHARS) throw unreadable();
  const tagged = login === TAGGED || (Array.isArray(tags) ? tags.length > 0 : Boolean(tags));
  return login === "" || tagged || expired === true ? null : login;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unreadable(cause);
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw unreadable();
}

function unreadable(cause?: unknown): NoAnswer {
  return new NoAnswer("its answer says nothing of a login", false, cause);
}
