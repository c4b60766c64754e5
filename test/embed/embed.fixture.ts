import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createGateway } from "../../src/embed/create.ts";
import type { GatewayConfig } from "../../src/embed/config.ts";
import type { EmbedOptions, Gateway, Started } from "../../src/embed/gateway.ts";
import type { LogLine } from "../support/logbook.ts";
import { createLogbook } from "../support/logbook.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { SocketSetup, TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";

/** A gateway in this process, in front of a model server that the test scripts. */
export interface Embedded extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly started: Started;
  readonly model: ModelServer;
  readonly lines: readonly LogLine[];
  readonly data_dir: string;
  /** The administrator's. */
  readonly token: string;
  /** A socket that said connect, as the administrator unless `token` says otherwise. */
  connect(hello?: Record<string, unknown>, setup?: SocketSetup & { token?: string }): Promise<TestSocket>;
}

export interface Directory extends AsyncDisposable {
  readonly path: string;
}

export async function temporary(): Promise<Directory> {
  const path = await mkdtemp(join(tmpdir(), "agentbus-embed-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** What a test that does not care gives: a port and a directory of its own. */
export function plainConfig(data_dir: string, config: GatewayConfig = {}): GatewayConfig {
  const server = { port: 0, data_dir, shutdown_grace_secs: 0, ...config.server };
  return { llm: { default_provider: "demo" }, ...config, server };
}

export async function embed(config: GatewayConfig = {}, options: EmbedOptions = {}): Promise<Embedded> {
  const directory = await temporary();
  const model = await startModelServer();
  const log = createLogbook();
  const llm = {
    default_provider: "test",
    default_model: "fake-1",
    providers: { test: { base_url: model.url() } },
  };
  const gateway = createGateway(plainConfig(directory.path, { llm, ...config }), { log, ...options });
  const started = await gateway.start();
  const token = started.token?.value ?? "";
  return {
    gateway,
    started,
    model,
    lines: log.lines,
    data_dir: directory.path,
    token,
    async connect(hello = {}, { token: other = token, ...setup } = {}) {
      const headers = { authorization: `Bearer ${other}`, ...setup.headers };
      const socket = await openSocket(`${started.url.replace(/^http/, "ws")}/ws`, { ...setup, headers });
      await socket.request("connect", { client_name: "test", ...hello });
      return socket;
    },
    async [Symbol.asyncDispose]() {
      await gateway.stop();
      await model[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** The reason of the GatewayError that it is refused with. Rejects where it is not. */
export async function refusedWith(work: Promise<unknown>): Promise<string> {
  const outcome = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (outcome === null) throw new Error("it was not refused");
  return (outcome as { readonly reason?: string }).reason ?? String(outcome);
}
