import { expect } from "bun:test";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { connect, createServer } from "node:net";
import type { Served, Typed } from "../support/executable.ts";
import { agentbus, inTerminal, serve, workplace } from "../support/executable.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";

export const FLAGS = ["--data-dir", "data"];
export const ASKED = "allow? [y]es / [n]o / [a]lways in this session: ";
export const SESSION = ["--session", "s"];

interface Place extends AsyncDisposable {
  readonly path: string;
  readonly model: ModelServer;
  gateway: Served;
  /** `agentbus chat` in a terminal, with or without a message. */
  typed(...argv: string[]): Typed;
  /** A conversation in a terminal of that size. */
  typedIn(size: { columns: number; rows: number }): Typed;
}

export async function started(config = "", env: Record<string, string> = {}): Promise<Place> {
  const place = workplace();
  const model = await startModelServer();
  place.file(
    "agentbus.toml",
    [
      `[llm]\ndefault_provider = "test"\ndefault_model = "test/m"`,
      `[llm.providers.test]\nbase_url = "${model.url()}"`,
      `[tools]\nbuiltin = ["time"]\n${config}`,
    ].join("\n"),
  );
  return {
    path: place.path,
    model,
    gateway: await serve(place.path, ["--port", "0", ...FLAGS], env),
    typedIn: (size) => inTerminal(["chat", ...SESSION, ...FLAGS], { cwd: place.path, ...size }),
    typed: (...argv) => inTerminal(["chat", ...argv, ...SESSION, ...FLAGS], { cwd: place.path }),
    async [Symbol.asyncDispose](this: Place) {
      await this.gateway[Symbol.asyncDispose]();
      model.stop();
      place[Symbol.dispose]();
    },
  };
}

/** The id of the first call that waited, as the log has it. */
async function firstAsked(place: Place): Promise<string> {
  await using watch = inTerminal(["watch", "s", "--after", "0", ...FLAGS], { cwd: place.path });
  const asked = /"approval_id":"([^"]+)"/;
  await watch.until("a call that waits", (shown) => asked.test(shown.replaceAll("\n", "")));
  return asked.exec(watch.shown.replaceAll("\n", ""))?.[1] ?? "";
}

export async function decide(place: Place, decision: string): Promise<void> {
  const approval_id = await firstAsked(place);
  const params = JSON.stringify({ session_id: "s", approval_id, decision });
  const answered = await agentbus(["call", "tool.approve", params, ...FLAGS], { cwd: place.path });
  expect(answered).toMatchObject({ code: 0, err: "" });
}

/** How often the terminal showed it. */
export function count(shown: string, text: string): number {
  return shown.split(text).length - 1;
}

export function asksFor(chat: Typed, times = 1): Promise<void> {
  return chat.until("the question", (shown) => count(shown, ASKED) >= times);
}

export interface Relay extends AsyncDisposable {
  readonly url: string;
  /** Of the gateway on this machine that is behind it. */
  port: number;
  /** Breaks every connection and takes no other until it is mended. */
  cut(): void;
  mend(): void;
}

/** A line to a gateway that can be cut. */
export async function startRelay(): Promise<Relay> {
  const clients = new Set<Socket>();
  let isCut = false;
  const server = createServer((client) => {
    if (isCut) return void client.destroy();
    const gateway = connect(relay.port, "127.0.0.1");
    for (const socket of [client, gateway]) socket.on("error", () => socket.destroy());
    client.pipe(gateway).pipe(client);
    return void clients.add(client);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const relay: Relay = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    port: 0,
    cut() {
      isCut = true;
      for (const client of clients) client.destroy();
    },
    mend: () => void (isCut = false),
    async [Symbol.asyncDispose]() {
      relay.cut();
      server.close();
    },
  };
  return relay;
}
