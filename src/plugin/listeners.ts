import type { Happening } from "../core/observers.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Running } from "./running.ts";

/** Who is told of events, of one type or (`*`) of all. */
export type Listen = (type: string, observer: (happening: Happening) => void) => () => void;

/**
 * Tells a plug-in of the events it listens to: those of one session one after the other. More than `backlog` that wait
 * are a fault. The answer ends it.
 */
export function listen(running: Running, on: Listen, backlog: number): () => void {
  const { events = {} } = running.plugin;
  const waiting = new Map<string, Happening[]>();
  let count = 0;

  const hear = (happening: Happening): void => {
    const key = happening.session_id ?? "";
    const queue = waiting.get(key);
    if (queue === undefined) {
      waiting.set(key, []);
      void tell(key, happening);
    } else if (count < backlog) {
      count++;
      queue.push(happening);
    } else running.fault(happening.type, new Error(`${count} events wait for it`));
  };

  /** This one, and then those that came meanwhile. */
  const tell = async (key: string, first: Happening): Promise<void> => {
    let next: Happening | undefined = first;
    const release = running.hold();
    while (next !== undefined && !running.hasEnded) {
      await tellOne(running, next);
      next = waiting.get(key)?.shift();
      if (next !== undefined) count--;
    }
    waiting.delete(key);
    release();
  };

  const offs = Object.keys(events).map((type) =>
    on(type, (happening) => {
      if (type === "*" && Object.hasOwn(events, happening.type)) return;
      hear(happening);
    }),
  );
  return () => {
    for (const off of offs) off();
  };
}

/** Never rejects. */
async function tellOne(running: Running, happening: Happening): Promise<void> {
  const { events = {} } = running.plugin;
  const listener = Object.hasOwn(events, happening.type) ? events[happening.type] : events["*"];
  try {
    // Its own copy: what it changes in it changes nothing.
    const event = { ...happening, payload: structuredClone(happening.payload) };
    await running.call(`the listener of ${happening.type}`, (context) => listener?.(event, context));
  } catch (error) {
    // A fault was told already; what the gateway refuses it is nothing that anybody waits for.
    if (error instanceof GatewayError && error.reason !== "INTERNAL_ERROR" && !running.hasEnded) {
      running.log.warn(
        { event: happening.type, err: error },
        "a listener of a plug-in was refused something",
      );
    }
  }
}
