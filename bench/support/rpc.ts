// With the DOM's types loaded, the constructor has lost Bun's options.
const BunWebSocket = WebSocket as unknown as new (url: string, options: Bun.WebSocketOptions) => WebSocket;

export interface Rpc {
  /** Resolves with the payload; rejects with what the answer says. */
  request<T = Record<string, unknown>>(method: string, params: unknown): Promise<T>;
  /** Sends text as it is. */
  send(text: string): void;
  close(): void;
  /** How often the other side closed it: 0 or 1. */
  readonly lost: number;
}

interface Answer {
  readonly id: string;
  readonly ok: boolean;
  readonly payload: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/**
 * A socket that sends requests and hands everything that is no answer to them, as text, to `onFrame`.
 * Without a token (a raw server) nothing is authenticated.
 */
export async function openRpc(
  url: string,
  token: string | null,
  onFrame: (text: string) => void = () => undefined,
): Promise<Rpc> {
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const socket = new BunWebSocket(url, { headers });
  const waiting = new Map<string, PromiseWithResolvers<unknown>>();
  const state = { requests: 0, closed: false, lost: 0 };
  const opening = Promise.withResolvers<void>();

  socket.addEventListener("open", () => opening.resolve());
  socket.addEventListener("message", ({ data }) => {
    const text = data as string;
    const settle = isAnswer(text) ? waiting.get(idOf(text)) : undefined;
    if (settle === undefined) return onFrame(text);
    const answer = JSON.parse(text) as Answer;
    waiting.delete(answer.id);
    if (answer.ok) settle.resolve(answer.payload);
    else settle.reject(new Error(`${answer.error?.code}: ${answer.error?.message}`));
    return undefined;
  });
  socket.addEventListener("close", ({ code, reason }) => {
    if (!state.closed) state.lost++;
    const error = new Error(`the socket to ${url} is closed: ${code} ${reason}`);
    opening.reject(error);
    for (const each of waiting.values()) each.reject(error);
  });
  // The close event that follows says the same.
  socket.addEventListener("error", () => undefined);
  await opening.promise;

  return {
    request<T>(method: string, params: unknown): Promise<T> {
      const id = `r${++state.requests}`;
      const answer = Promise.withResolvers<unknown>();
      waiting.set(id, answer);
      socket.send(JSON.stringify({ type: "req", id, method, params }));
      return answer.promise as Promise<T>;
    },
    send: (text) => void socket.send(text),
    close() {
      state.closed = true;
      socket.close();
    },
    get lost() {
      return state.lost;
    },
  };
}

const R = "r".charCodeAt(0);
/** Where the value of "type" begins, in every frame. */
const TYPE_AT = '{"type":"'.length;
const ID_AT = '{"type":"res","id":"'.length;

export function isAnswer(text: string): boolean {
  return text.charCodeAt(TYPE_AT) === R;
}

/** The id of an answer, without parsing the rest. */
export function idOf(text: string): string {
  return text.slice(ID_AT, text.indexOf('"', ID_AT));
}

/** Runs the work of `count` items, `at_once` of them at a time. */
export async function pool(
  count: number,
  at_once: number,
  work: (index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(at_once, count) }, lane));
}

/** As pool, spread over sockets: `each` at a time on every one of them. */
export async function poolOver(
  sockets: readonly Rpc[],
  count: number,
  each: number,
  work: (rpc: Rpc, index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async (rpc: Rpc): Promise<void> => {
    while (next < count) await work(rpc, next++);
  };
  await Promise.all(sockets.flatMap((rpc) => Array.from({ length: Math.min(each, count) }, () => lane(rpc))));
}
