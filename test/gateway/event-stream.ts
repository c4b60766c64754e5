import type { EventReader, ServerEvent } from "../support/sse-client.ts";

/** What comes up to the end of catching up; the stream stays open. */
export async function opening(stream: EventReader): Promise<ServerEvent[]> {
  const events: ServerEvent[] = [];
  for (;;) {
    const event = await stream.next();
    events.push(event);
    if (event.event === "session.synced") return events;
  }
}

/** The frame an event carries. */
// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
export function frameOf(event: ServerEvent | undefined): any {
  return JSON.parse(event?.data ?? "null");
}
