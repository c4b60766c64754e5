import type { Opening } from "../core/follow.ts";
import type { SessionRef } from "../core/session.ts";
import { nameFor } from "../core/session.ts";
import type { Principal } from "../core/principal.ts";
import type { Snapshot } from "../protocol/entities.ts";
import { sessionSubscribe } from "../protocol/api/session.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { TransportContext } from "./context.ts";
import { pathParameter } from "./rest.ts";
import { authenticate } from "./rest-guard.ts";
import { onlyParameters } from "./rest-input.ts";
import { parameter, SECURED, streamAnswers } from "./rest-openapi.ts";
import type { HttpRoute, Visit } from "./rest-reply.ts";
import type { Streams } from "./sse-hub.ts";
import { endedBy, follow, hasEnded, runOf, whereEnded } from "./sse-run.ts";
import type { EventStream } from "./sse-stream.ts";
import type { Chunk, Cursor } from "./sse-text.ts";
import { chunkOf, endText, GREETING, openingText, parseCursor } from "./sse-text.ts";

/** What a request for events asks for. */
interface Asked {
  readonly session: SessionRef;
  readonly cursor: Cursor | null;
  readonly catch_up: "auto" | "log";
  /** The run to end with; null: none. */
  readonly until: string | null;
}

/** `GET /api/v1/sessions/:id/events`: a subscription of one session as an event stream. */
export function eventsRoute(context: TransportContext, streams: Streams): HttpRoute {
  const openings = new Openings();
  return {
    verb: "GET",
    path: "/api/v1/sessions/:id/events",
    streams: true,
    describe: () => ({
      summary: "Events of a session: what was missed after the cursor, then live.",
      tags: ["sessions"],
      security: SECURED,
      parameters: [
        parameter("path", "id", sessionSubscribe.params.properties.session_id, true),
        parameter("query", "after", { type: "string" }, false, "`<epoch>.<seq>`: continue after this event"),
        parameter("query", "catch_up", sessionSubscribe.params.properties.catch_up, false),
        parameter("query", "until", { type: "string" }, false, "run_id: end once this run has ended"),
        parameter("query", "ticket", { type: "string" }, false, "instead of the Authorization header"),
        parameter("header", "Last-Event-ID", { type: "string" }, false, "as `after`, which it precedes"),
      ],
      responses: streamAnswers("text/event-stream"),
    }),
    handle: (visit) => openEvents(context, streams, openings, visit),
  };
}

async function openEvents(
  context: TransportContext,
  streams: Streams,
  openings: Openings,
  visit: Visit,
): Promise<Response> {
  streams.checkRoom();
  const principal = await authenticate(context, visit, "sse");
  mayRead(principal);
  const asked = await readAsked(context, visit, principal);
  const { session, cursor, until } = asked;
  const run = until === null ? null : await runOf(context, visit, principal, session, until);
  const stream = streams.open(visit, principal);
  const ended = run !== null && hasEnded(run);
  if (
    ended &&
    cursor !== null &&
    (await whereEnded(context, stream, session, cursor, run.run_id)) === "before"
  ) {
    stream.gone();
    return new Response(null, { status: 204 });
  }
  await start(context, openings, stream, asked, ended);
  return stream.response();
}

async function start(
  context: TransportContext,
  openings: Openings,
  stream: EventStream,
  asked: Asked,
  ended: boolean,
): Promise<void> {
  const { session, cursor, until } = asked;
  const name = nameFor(session, stream.principal.user);
  let over = ended;
  stream.after = (frame) => {
    if (frame.type === "session.unsubscribed") return stream.finish();
    if (until === null) return undefined;
    // Where the end of the run lies before what was sent, the stream is over once it has caught up.
    const isEnd = endedBy(frame)?.run_id === until || (over && frame.type === "session.synced");
    if (!isEnd) return undefined;
    stream.push(chunkOf(endText(name, until, context.clock.now())));
    return stream.finish();
  };
  const request = {
    catch_up: asked.catch_up,
    ...(cursor !== null && { epoch: cursor.epoch, after: cursor.seq }),
  };
  await follow(context, stream, session, request, (opening) => {
    over ||= until !== null && holdsEnd(opening, until);
    stream.push(GREETING);
    stream.push(openings.of(opening, name, context.clock.now()));
  });
}

/** Whether a snapshot is later than the end of a run: it has the run ended, or not any more. */
function holdsEnd(opening: Opening, run_id: string): boolean {
  if (opening.snapshot === undefined) return false;
  const { runs } = JSON.parse(opening.snapshot) as Snapshot;
  const run = runs.find((each) => each.run_id === run_id);
  return run === undefined || hasEnded(run);
}

/** @throws GatewayError FORBIDDEN */
export function mayRead(principal: Principal): void {
  const { scope } = sessionSubscribe;
  if (scope === null || principal.scopes.has(scope)) return;
  throw new GatewayError("FORBIDDEN", `events need the scope ${scope}`, {
    details: { kind: "scope", scope },
  });
}

const PARAMETERS = ["after", "catch_up", "until", "ticket"] as const;

async function readAsked(context: TransportContext, visit: Visit, principal: Principal): Promise<Asked> {
  const query = visit.url.searchParams;
  onlyParameters(query, PARAMETERS);
  const catch_up = query.get("catch_up") ?? "auto";
  if (catch_up !== "auto" && catch_up !== "log") {
    throw new GatewayError("INVALID_REQUEST", "catch_up is auto or log", {
      details: { kind: "schema", path: "catch_up" },
    });
  }
  const cursor = lastEventId(visit.request) ?? cursorParameter(query.get("after"));
  const session = await context.directory.find(principal.user, pathParameter(visit, "id"), "read");
  return { session, cursor, catch_up, until: query.get("until") };
}

/** What a reconnecting client read last; one that does not parse counts as none. */
export function lastEventId(request: Request): Cursor | null {
  return parseCursor(request.headers.get("last-event-id") ?? "");
}

function cursorParameter(text: string | null): Cursor | null {
  if (text === null) return null;
  const cursor = parseCursor(text);
  if (cursor !== null) return cursor;
  throw new GatewayError("INVALID_REQUEST", "after is <epoch>.<seq>, as in the id of an event", {
    details: { kind: "cursor", path: "after" },
  });
}

const REMEMBERED = 16;

/** Openings with a snapshot, made once for all who come at the same head. */
class Openings {
  readonly #made = new Map<string, { readonly snapshot: string; readonly chunk: Chunk }>();

  of(opening: Opening, name: string, now: number): Chunk {
    const { mode, reason = "", epoch, from, snapshot } = opening;
    if (snapshot === undefined) return chunkOf(openingText(opening, name, now));
    const key = `${name} ${mode} ${reason} ${epoch}.${from}`;
    const known = this.#made.get(key);
    if (known?.snapshot === snapshot) return known.chunk;
    const chunk = chunkOf(openingText(opening, name, now));
    this.#made.set(key, { snapshot, chunk });
    const [oldest] = this.#made.keys();
    if (this.#made.size > REMEMBERED && oldest !== undefined) this.#made.delete(oldest);
    return chunk;
  }
}
