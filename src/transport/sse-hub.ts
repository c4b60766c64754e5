import type { Frame, Listener } from "../core/hub.ts";
import { newId } from "../core/id.ts";
import type { Principal } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { TransportContext } from "./context.ts";
import { clientIdOf } from "./rest-guard.ts";
import type { Visit } from "./rest-reply.ts";
import { EventStream } from "./sse-stream.ts";
import type { Chunk } from "./sse-text.ts";
import { chunkOf, COMMENT, eventText } from "./sse-text.ts";
import type { Turns } from "./turn.ts";

const LOOK_MS = 1_000;
const COMMENT_LOOKS = 10;
/** How soon a refused stream may come again. */
const RETRY_MS = 2_000;

interface Watched {
  /** Bytes it had taken at the last look. */
  taken: number;
  /** Looks in a row at which it had taken nothing although enough waited. */
  stuck: number;
}

/** The open event streams, the topics they follow, and one timer for all of them. */
export class Streams implements Listener {
  readonly #context: TransportContext;
  readonly #turns: Turns;
  readonly #topics = new Map<string, Set<EventStream>>();
  readonly #open = new Map<EventStream, Watched>();
  #looks = 0;
  #cancel: (() => void) | null = null;

  constructor(context: TransportContext, turns: Turns) {
    this.#context = context;
    this.#turns = turns;
  }

  get size(): number {
    return this.#open.size;
  }

  publish(topic: string, frame: Frame): void {
    const streams = this.#topics.get(topic);
    if (streams === undefined) return;
    let made: Chunk | null = null;
    const shared = (): Chunk => (made ??= chunkOf(eventText(frame)));
    for (const stream of streams) stream.publish(frame, shared);
  }

  /** Whether anybody can come in. @throws GatewayError UNAVAILABLE */
  checkRoom(): void {
    const { connections, status } = this.#context;
    if (status() === "draining") {
      throw new GatewayError("UNAVAILABLE", "the gateway is stopping: come again later", {
        details: { kind: "draining" },
        retry_after_ms: RETRY_MS,
      });
    }
    const full = connections.full();
    if (full !== null) throw full;
  }

  /** A stream for a request; it counts as a connection from now until it is gone. @throws GatewayError UNAVAILABLE */
  open(visit: Visit, principal: Principal): EventStream {
    const { context, request, remote } = { context: this.#context, ...visit };
    this.checkRoom();
    const full = context.connections.fullFor(principal);
    if (full !== null) throw full;
    const now = context.clock.now();
    const id = newId("con", now);
    const stream = new EventStream({
      id,
      remote,
      client_id: clientIdOf(request) ?? id,
      principal,
      now,
      limits: context.limits,
      turns: this.#turns,
      topics: {
        follow: (topic, follower) => this.#follow(topic, follower),
        unfollow: (topic, follower) => this.#unfollow(topic, follower),
      },
      onSlow: (slow) => this.#tooSlow(slow),
      onGone: (gone) => this.#gone(gone),
    });
    this.#open.set(stream, { taken: 0, stuck: 0 });
    this.#cancel ??= context.clock.every(LOOK_MS, () => this.#look());
    context.connections.add(stream);
    context.onConnection(stream, "joined");
    // Quiet streams are not idle, and a client that leaves is known of by its signal alone.
    visit.server.timeout(request, 0);
    if (request.signal.aborted) stream.gone();
    else request.signal.addEventListener("abort", () => stream.gone(), { once: true });
    return stream;
  }

  /** Ends every stream. */
  closeAll(error: GatewayError): void {
    for (const stream of this.#open.keys()) stream.close(error);
  }

  #follow(topic: string, stream: EventStream): void {
    const streams = this.#topics.get(topic) ?? new Set();
    streams.add(stream);
    this.#topics.set(topic, streams);
  }

  #unfollow(topic: string, stream: EventStream): void {
    const streams = this.#topics.get(topic);
    streams?.delete(stream);
    if (streams?.size === 0) this.#topics.delete(topic);
  }

  #gone(stream: EventStream): void {
    const { connections, followers, onConnection } = this.#context;
    this.#open.delete(stream);
    followers.endAll(stream);
    connections.remove(stream);
    onConnection(stream, "left");
    if (this.#open.size > 0) return;
    this.#cancel?.();
    this.#cancel = null;
  }

  /** Once a second: who takes nothing is ended; once in a while everybody gets a comment. */
  #look(): void {
    const { slow_stuck_bytes, slow_stuck_secs } = this.#context.limits;
    const comment = ++this.#looks % COMMENT_LOOKS === 0;
    for (const [stream, watched] of this.#open) {
      const waits = stream.unsent();
      // A stream that only has to end waits for its last bytes no longer than others for many.
      const enough = stream.closed ? waits > 0 : waits > slow_stuck_bytes;
      watched.stuck = enough && stream.taken === watched.taken ? watched.stuck + 1 : 0;
      watched.taken = stream.taken;
      if (watched.stuck >= slow_stuck_secs) this.#tooSlow(stream);
      else if (comment && waits === 0) stream.push(COMMENT);
    }
  }

  #tooSlow(stream: EventStream): void {
    const { count, log } = this.#context;
    count.slowConsumer();
    log.info(
      { connection_id: stream.id, buffered: stream.unsent() },
      "an event stream does not drain: ended",
    );
    stream.close(new GatewayError("SLOW_CONSUMER", "the stream did not drain: reconnect and resume"));
  }
}
