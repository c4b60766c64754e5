import type { EventFrame } from "../protocol/frames.ts";

/** Reads an event stream: each frame in order, null for every other sign of life. Resolves at its end. @throws what the stream does */
export async function readStream(
  body: ReadableStream<Uint8Array>,
  heard: (frame: EventFrame | null) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (lines.length > 0) heard(null);
    // The gateway writes an event's data as one line, and its type is in the frame.
    for (const line of lines) if (line.startsWith("data: ")) heard(JSON.parse(line.slice(6)) as EventFrame);
  }
}
