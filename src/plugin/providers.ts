import type { ModelEvent, Provider } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Running } from "./running.ts";

/** The providers of a plug-in, which keep the contract of one whatever it does. */
export function providersOf(running: Running): Provider[] {
  return (running.plugin.providers ?? []).map((provider): Provider => {
    const { name } = provider;
    return {
      name,
      state() {
        const { ready, reason } = running.attempt(`${name}.state`, () => provider.state(), {
          name,
          ready: false,
        });
        return { name, ready: ready === true, ...(typeof reason === "string" && { reason }) };
      },
      models: () => [...running.attempt(`${name}.models`, () => provider.models(), [])].map(String),
      stream: (request, options) => guarded(running, provider, request, options.signal),
    };
  });
}

/** What the provider says until its end; ends with an error where it throws, says what nobody may, or says nothing. */
async function* guarded(
  running: Running,
  provider: Provider,
  request: Parameters<Provider["stream"]>[0],
  signal: AbortSignal,
): AsyncGenerator<ModelEvent> {
  const what = `${provider.name}.stream`;
  let events: AsyncIterator<ModelEvent> | null = null;
  const release = running.hold();
  try {
    for (;;) {
      const next = await running.call(
        what,
        () => {
          events ??= provider.stream(request, { signal })[Symbol.asyncIterator]();
          return events.next();
        },
        { signal, deadline_ms: running.silence_ms },
      );
      if (next.done === true) throw new Error("the stream ended without an end");
      const event = checked(next.value);
      yield event;
      if (event.type === "done" || event.type === "error" || event.type === "aborted") return;
    }
  } catch (error) {
    if (signal.aborted) yield { type: "aborted" };
    else {
      const known = error instanceof GatewayError;
      if (!known) running.fault(what, error as Error);
      const told = known ? error : new GatewayError("UPSTREAM_ERROR", `the provider ${provider.name} failed`);
      yield { type: "error", error: told };
    }
  } finally {
    release();
    void end(events);
  }
}

/** Lets go of what was not read to its end. */
async function end(events: AsyncIterator<ModelEvent> | null): Promise<void> {
  try {
    await events?.return?.();
  } catch {
    // It has said all it may say.
  }
}

/** @throws Error where an event is none */
function checked(event: ModelEvent): ModelEvent {
  if ((event.type === "text" || event.type === "reasoning") && typeof event.text !== "string") {
    throw new Error(`it yields ${event.type} without a text`);
  }
  if (event.type === "error" && !(event.error instanceof GatewayError)) {
    throw new Error("it yields an error that is no GatewayError");
  }
  return event;
}
