import type { Logger } from "../core/ports.ts";
import type { Plugin, PluginContext, PluginGateway } from "./api.ts";
import type { ErrorText, FromIsolate, Outcome, ToIsolate } from "./crossing.ts";
import { errorText, packPlugin, packValue, toError, unpackValue } from "./crossing.ts";
import { importFresh } from "./module.ts";

/** A worker that runs one plug-in for the gateway: whatever its code does, the gateway's event loop turns. */

declare const self: {
  onmessage: ((event: MessageEvent<ToIsolate>) => void) | null;
  postMessage(message: FromIsolate): void;
};

type AnyFunction = (...args: unknown[]) => unknown;

const calls = new Map<number, AbortController>();
const asked = new Map<number, PromiseWithResolvers<unknown>>();
let plugin: Plugin | null = null;
let undo: AnyFunction | null = null;
let gateway: PluginGateway = gatewayOf({ name: "", version: "" });
let last_ask = 0;

const log: Logger = {
  debug: (fields, message) => line("debug", fields, message),
  info: (fields, message) => line("info", fields, message),
  warn: (fields, message) => line("warn", fields, message),
  error: (fields, message) => line("error", fields, message),
  child: (more) => ({
    ...log,
    debug: (fields, message) => line("debug", { ...more, ...fields }, message),
    info: (fields, message) => line("info", { ...more, ...fields }, message),
    warn: (fields, message) => line("warn", { ...more, ...fields }, message),
    error: (fields, message) => line("error", { ...more, ...fields }, message),
  }),
};

process.on("unhandledRejection", (cause) => fault("a promise that nobody waited for", cause));
process.on("uncaughtException", (cause) => fault("a callback", cause));

self.onmessage = ({ data }): void => {
  if (data.op === "load") void load(data);
  else if (data.op === "call") void call(data);
  else if (data.op === "abort") calls.get(data.id)?.abort();
  else settle(data);
};

async function load({ path, gateway: about }: Extract<ToIsolate, { op: "load" }>): Promise<void> {
  gateway = gatewayOf(about);
  try {
    const exported = await importFresh(path, []);
    const packed = packPlugin(exported);
    plugin = exported as Plugin;
    self.postMessage({ op: "loaded", plugin: packed });
  } catch (error) {
    self.postMessage({ op: "unloadable", error: errorText(error) });
  }
}

async function call({ id, at, args, context }: Extract<ToIsolate, { op: "call" }>): Promise<void> {
  const abort = new AbortController();
  calls.set(id, abort);
  let outcome: Outcome;
  try {
    const whole: PluginContext = { ...context, signal: abort.signal, log, gateway };
    const value = await run(at, args.map(unpackValue), whole);
    outcome = { ok: true, value: await packValue(value) };
  } catch (error) {
    outcome = { ok: false, error: errorText(error) };
  }
  calls.delete(id);
  answer(id, outcome);
}

/** What cannot be copied cannot be answered. */
function answer(id: number, outcome: Outcome): void {
  try {
    self.postMessage({ op: "answer", id, outcome });
  } catch (error) {
    self.postMessage({ op: "answer", id, outcome: { ok: false, error: errorText(error) } });
  }
}

async function run(
  at: readonly string[],
  args: readonly unknown[],
  context: PluginContext,
): Promise<unknown> {
  const [part] = at;
  if (part === "alive") return undefined;
  if (part === "undo") return undo?.();
  if (part === "setup") {
    const undone = await plugin?.setup?.(gateway, context);
    if (typeof undone === "function") undo = undone;
    else if (undone !== undefined) throw new Error("setup: returns a function that undoes it, or nothing");
    return undefined;
  }
  let owner: unknown = undefined;
  let found: unknown = plugin;
  for (const key of at) {
    owner = found;
    found = (found as Record<string, unknown>)[key];
  }
  return (found as AnyFunction).call(owner, ...args, context);
}

function gatewayOf({ name, version }: { readonly name: string; readonly version: string }): PluginGateway {
  return {
    name,
    version,
    call: (...args) => ask("call", args),
    broadcast: async (...args) => (await ask("broadcast", args)) as number,
  };
}

function ask(what: "call" | "broadcast", args: readonly unknown[]): Promise<unknown> {
  const id = ++last_ask;
  const answered = Promise.withResolvers<unknown>();
  // What cannot be copied is told to whoever asks.
  self.postMessage({ op: "ask", id, what, args });
  asked.set(id, answered);
  return answered.promise;
}

function settle({ id, outcome }: Extract<ToIsolate, { op: "answer" }>): void {
  const answered = asked.get(id);
  asked.delete(id);
  if (outcome.ok) answered?.resolve(unpackValue(outcome.value));
  else answered?.reject(toError(outcome.error));
}

function line(
  level: "debug" | "info" | "warn" | "error",
  fields: Record<string, unknown>,
  message: string,
): void {
  const sound = Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, value instanceof Error ? errorText(value) : value]),
  );
  self.postMessage({ op: "log", level, fields: JSON.parse(JSON.stringify(sound)) as typeof fields, message });
}

function fault(what: string, cause: unknown): void {
  const error: ErrorText = errorText(cause);
  self.postMessage({ op: "fault", what, error });
}
