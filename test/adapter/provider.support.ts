import { systemClock } from "../../src/clock.ts";
import type { Clock, ModelEvent } from "../../src/core/ports.ts";
import type { OpenAiOptions } from "../../src/provider/openai.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { createLogbook } from "../support/logbook.ts";
import type { Script } from "../support/model-script.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, requestOf } from "./provider.conformance.ts";

export const hello = requestOf("test-model", "hello");
export const done = { type: "done", finish_reason: "stop" } as const;

/** Options of a provider named "test" with times no test waits for, unless it says otherwise. */
export function openAiOptions(base_url: string, more: Partial<OpenAiOptions> = {}): OpenAiOptions {
  return {
    name: "test",
    base_url,
    api_keys: ["agb-test-key-0001"],
    models: [],
    headers: {},
    query: {},
    api_key_header: "",
    connect_timeout_ms: 10_000,
    first_token_timeout_ms: 20_000,
    idle_timeout_ms: 20_000,
    total_timeout_ms: 0,
    max_message_bytes: 64 * 1024,
    max_line_bytes: 128 * 1024,
    clock: systemClock,
    log: createLogbook(),
    ...more,
  };
}

/** Time that passes as soon as it is waited for; `waits` keeps what for, in milliseconds. */
export function instantClock(waits: number[] = []): Clock {
  const after: Clock["after"] = (ms, task) => {
    waits.push(ms);
    const timer = setImmediate(task);
    return () => clearImmediate(timer);
  };
  return { ...systemClock, after };
}

export async function ask(model: ModelServer, more: Partial<OpenAiOptions> = {}): Promise<ModelEvent[]> {
  return collect(createOpenAiProvider(openAiOptions(model.url(), more)), hello);
}

/** What a server that answers like this makes of a call. */
export async function answered(
  write: (reply: Script) => Script,
  more: Partial<OpenAiOptions> = {},
): Promise<ModelEvent[]> {
  await using model = await startModelServer();
  write(model.reply());
  const events = await ask(model, more);
  await model.waitForIdle();
  return events;
}

export function callsIn(events: readonly ModelEvent[]) {
  return events.flatMap((event) => (event.type === "tool_call" ? [event.call] : []));
}
/** A piece of a call; null: it does not say so. */
export function piece(index: number | null, id: string | null, name: string | null, args?: unknown): object {
  return {
    ...(index !== null && { index }),
    ...(id !== null && { id }),
    type: "function",
    function: { ...(name !== null && { name }), ...(args !== undefined && { arguments: args }) },
  };
}
/** Each list is one chunk. */
export function chunks(...lists: readonly (readonly object[])[]): (reply: Script) => Script {
  return (reply) =>
    lists.reduce<Script>((script, tool_calls) => script.delta({ tool_calls }), reply).finish("tool_calls");
}
