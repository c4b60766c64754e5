/** One answer that is being written, piece by piece, as the exchange asks for it. */
export interface Turn {
  say(text: string): void;
  reason(text: string): void;
  /** The model is done: finish reason, usage, the end. */
  finish(): void;
  /** The body ends without a finish reason. */
  break(): void;
}

export interface GatedModel extends Disposable {
  /** The base_url to configure. */
  readonly url: string;
  /** The next request for an answer. */
  turn(): Promise<Turn>;
}

/** An OpenAI-compatible server that says nothing by itself, so that what arrives together does not depend on timing. */
export function startGatedModel(): GatedModel {
  const turns: Turn[] = [];
  const waiting: ((turn: Turn) => void)[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: () => {
      const { turn, body } = openTurn();
      const taker = waiting.shift();
      if (taker === undefined) turns.push(turn);
      else taker(turn);
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}/v1`,
    turn: () => {
      const ready = turns.shift();
      return ready === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(ready);
    },
    [Symbol.dispose]: () => void server.stop(true),
  };
}

function openTurn(): { turn: Turn; body: ReadableStream<Uint8Array> } {
  let controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  const body = new ReadableStream<Uint8Array>({
    start: (opened) => void (controller = opened),
    cancel: () => void (controller = null),
  });
  const write = (text: string): void => controller?.enqueue(new TextEncoder().encode(`data: ${text}\n\n`));
  const chunk = (rest: Record<string, unknown>): void =>
    write(JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 0, model: "writer", ...rest }));
  const delta = (said: Record<string, string>, finish_reason: string | null = null): void =>
    chunk({ choices: [{ index: 0, delta: said, finish_reason }] });
  const end = (): void => {
    controller?.close();
    controller = null;
  };
  const turn: Turn = {
    say: (content) => delta({ content }),
    reason: (reasoning_content) => delta({ reasoning_content }),
    finish: () => {
      delta({}, "stop");
      chunk({ choices: [], usage: { prompt_tokens: 12, completion_tokens: 8, total_tokens: 20 } });
      write("[DONE]");
      end();
    },
    break: end,
  };
  return { turn, body };
}
