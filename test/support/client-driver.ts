import type {
  Client,
  ClientError,
  ClientOptions,
  ClientSession,
  SessionSnapshot,
} from "../../src/package/client.ts";
import { createClient } from "../../src/package/client.ts";

/** What a runtime is to do with the client. Everything that can be JSON, so that a page can be told, too. */
export interface Drive {
  /** Where the gateway is reached, one way for each session. */
  readonly urls: readonly string[];
  readonly token: string;
  /** Tells whether there is more to do: "true" or "false". */
  readonly more: string;
  /** Sessions are called so, with a number. */
  readonly prefix: string;
  readonly words: number;
  readonly transport?: "websocket" | "sse" | "auto";
  /** Files go in and come out, too. */
  readonly files?: true;
}

/** What came of it. */
export interface Driven {
  readonly answers: number;
  /** What was not as it should be. */
  readonly wrong: readonly string[];
  /** From a lost connection to a state that is up to now again. */
  readonly caught_up_ms: readonly number[];
  /** How each client was connected in the end: "" for HTTP. */
  readonly connections: readonly string[];
}

/** Asks on every way, again and again while there is more to do, and compares what comes with what must. */
export async function drive(options: Drive, more: Partial<ClientOptions> = {}): Promise<Driven> {
  const wrong: string[] = [];
  const caught_up_ms: number[] = [];
  const connections: string[] = [];
  let answers = 0;
  const work = async (url: string, index: number): Promise<void> => {
    const { token, transport = "auto", prefix } = options;
    const client = createClient({
      url,
      auth_token: token,
      transport,
      reconnect_delay: 0.2,
      max_reconnect_attempts: 0,
      connect_timeout_ms: 2_000,
      ...more,
    });
    await client.connect({ retry: true });
    const session = client.session(`${prefix}-${index}`);
    const asked: string[] = [];
    const leave = watch(session, caught_up_ms, wrong);
    do {
      const message = `/long ${options.words + asked.length}`;
      asked.push(message);
      await ask(session, message, wrong);
      answers++;
    } while ((await (await fetch(options.more)).text()) === "true");
    const { messages } = await session.state.until(({ status, runs }) => status === "live" && ended(runs));
    const held = messages.map(({ content }) => content);
    const due = asked.flatMap((message) => [message, counted(message)]);
    if (held.join("|") !== due.join("|")) wrong.push(`${prefix}-${index} holds ${held.join("|")}`);
    if (options.files === true) await passFiles(client, `${prefix}-${index}-files`, wrong);
    connections.push(client.hello?.server_info.connection_id ?? "never");
    leave();
    client.disconnect();
  };
  await Promise.all(options.urls.map(work));
  return { answers, wrong, caught_up_ms, connections };
}

/** One question, read as events: each once and in order, until its run ends. */
async function ask(session: ClientSession, message: string, wrong: string[]): Promise<void> {
  const sent = await session.send(message);
  let { seq } = sent;
  let text = "";
  for await (const event of session.events({ after: sent, until: sent.run_id, catch_up: "log" })) {
    if (event.seq !== seq + 1) wrong.push(`${session.session_id}: ${event.event} ${event.seq} after ${seq}`);
    seq = event.seq;
    if (event.event === "message.delta") text += event.payload.text;
  }
  if (text !== counted(message)) wrong.push(`${session.session_id}: ${text}`);
}

/** In every form a program may have them. */
async function passFiles(client: Client, session_id: string, wrong: string[]): Promise<void> {
  const text = "one\ntwo, äöü\n";
  const bytes = new TextEncoder().encode(text);
  const forms = [text, bytes, bytes.buffer, new Blob([text])];
  const taken = await Promise.all(forms.map((form, at) => client.upload(form, { name: `ä ${at}.txt` })));
  const names = taken.map(({ name }) => name).join();
  if (names !== "ä 0.txt,ä 1.txt,ä 2.txt,ä 3.txt") wrong.push(`files are called ${names}`);
  const attachments = taken.map(({ attachment_id }) => attachment_id);
  await client.session(session_id).send("", { attachments });
  for (const attachment_id of attachments) {
    const back = await (await client.download(session_id, attachment_id)).text();
    if (back !== text) wrong.push(`a file came back as ${back}`);
  }
  const refused = await client.upload(new Uint8Array(64).fill(255)).catch((error: unknown) => error);
  if ((refused as Partial<ClientError>).code !== "INVALID_REQUEST") wrong.push(`noise: ${String(refused)}`);
}

/** What is shown never goes back: a message that grows is always a beginning of the whole of it. */
function watch(session: ClientSession, caught_up_ms: number[], wrong: string[]): () => void {
  let lost_at: number | null = null;
  return session.state.subscribe(() => {
    const snapshot = session.state.getSnapshot();
    if (snapshot.status === "offline") lost_at ??= performance.now();
    else if (snapshot.status === "live" && lost_at !== null) {
      caught_up_ms.push(performance.now() - lost_at);
      lost_at = null;
    }
    const slip = slipIn(snapshot);
    if (slip !== null) wrong.push(`${session.session_id} showed ${slip}`);
  });
}

function slipIn({ messages }: SessionSnapshot): string | null {
  const answer = messages.findLast(({ role }) => role === "assistant");
  if (answer === undefined) return null;
  return "1 2 3 4 5 6 7 8 9 10".startsWith(answer.content.slice(0, 20)) ? null : answer.content;
}

function counted(message: string): string {
  return Array.from({ length: Number(message.slice("/long ".length)) }, (_, i) => String(i + 1)).join(" ");
}

function ended(runs: SessionSnapshot["runs"]): boolean {
  return runs.every(({ ended_at }) => ended_at !== undefined);
}
