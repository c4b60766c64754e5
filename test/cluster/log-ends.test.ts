import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { isEnd, log, say } from "../gateway/stack.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { EventReader, ServerEvent } from "../support/sse-client.ts";
import type { TestSocket } from "../support/ws-client.ts";
import type { ClusterNode } from "./nodes.ts";
import { startNodes, within } from "./nodes.ts";
import { readTruth, settled } from "./truth.ts";

setDefaultTimeout(120_000);

/** Two who follow a session at one node, from its first event. */
interface Followers extends AsyncDisposable {
  readonly socket: TestSocket;
  readonly stream: EventReader;
}

async function follow({ owner }: ClusterNode, session_id: string, epoch: string): Promise<Followers> {
  const socket = await owner.connect({});
  await socket.request("session.subscribe", { session_id, epoch, after: 0 });
  const stream = await owner.events(`/api/v1/sessions/${session_id}/events?after=${epoch}.0`);
  return {
    socket,
    stream,
    async [Symbol.asyncDispose]() {
      stream.close();
      await socket[Symbol.asyncDispose]();
    },
  };
}

/** What a socket was told of a session: its log, and why that is not followed any more. */
function told(socket: TestSocket, session_id: string): string[] {
  return socket.frames
    .filter(({ json }) => json.seq !== undefined || json.event === "session.unsubscribed")
    .filter(({ json }) => json.session_id === session_id)
    .map(({ json }) =>
      json.seq === undefined ? `${json.event} ${json.payload.reason}` : JSON.stringify(json),
    );
}

/** The same of a stream. */
function toldBy(events: readonly ServerEvent[]): string[] {
  return events.flatMap(({ event, data }) => {
    const { seq, payload } = JSON.parse(data);
    if (event === "session.unsubscribed") return `${event} ${payload.reason}`;
    return seq === undefined ? [] : data;
  });
}

async function unsubscribed({ socket }: Followers): Promise<void> {
  await socket.next(({ json }) => json.event === "session.unsubscribed", 30_000);
}

describe.skipIf(!hasPostgres)(
  "whoever follows a log that another node writes is told of its end as at that node",
  () => {
    test("a session is deleted, through either node, and made again under its name", async () => {
      await using nodes = await startNodes();
      const [a, b] = [nodes.node(0), nodes.node(1)];
      for (const through of [a, b]) {
        const session_id = `talk-${through.name}`;
        await say(a.owner, { session_id, message: "first life" });
        const { epoch, head } = await a.owner.call("session.get", { session_id });
        await using here = await follow(a, session_id, epoch);
        await using there = await follow(b, session_id, epoch);
        await through.owner.call("session.delete", { session_id });
        // At once, before everybody was told of the end.
        await a.owner.call("session.create", { session_id });
        await say(a.owner, { session_id, message: "second life" });
        await Promise.all([unsubscribed(here), unsubscribed(there)]);
        const [one, two] = await Promise.all([here.stream.rest(), there.stream.rest()]);
        await within(
          () => there.socket.frames.filter(({ json }) => json.payload?.deleted === true).length,
          (count) => count === 1,
        );
        const expected = told(here.socket, session_id);
        expect(expected).toHaveLength(head + 2);
        expect(JSON.parse(expected.at(-2) ?? "")).toMatchObject({ event: "session.closed", epoch });
        expect(expected.at(-1)).toBe("session.unsubscribed deleted");
        expect(told(there.socket, session_id)).toEqual(expected);
        expect(toldBy(one)).toEqual(expected);
        expect(toldBy(two)).toEqual(expected);
        // The cursor of a log that is gone is worth nothing, and the next one begins anew.
        for (const { socket } of [here, there]) {
          const again = await socket.request("session.subscribe", { session_id, epoch, after: head });
          expect(again).toMatchObject({ mode: "reset", reason: "epoch" });
          expect(again.epoch).not.toBe(epoch);
          expect(again.snapshot.messages[0]).toMatchObject({ content: "second life" });
        }
      }
    });

    test("sessions are deleted that were shared: the share went with them, and is not what is told", async () => {
      await using nodes = await startNodes();
      const [a, b] = [nodes.node(0), nodes.node(1)];
      const { token } = await a.owner.call("token.create", { name: "t", user: "bob" });
      await using here = await a.person(token).connect({});
      await using there = await b.person(token).connect({});
      const ids: string[] = [];
      for (let n = 0; n < 8; n++) {
        const { epoch } = await a.owner.call("session.create", { session_id: `ours-${n}` });
        await a.owner.call("session.share", { session_id: `ours-${n}`, user: "bob", role: "viewer" });
        const [row] = await nodes.sql`SELECT id FROM agentbus.sessions WHERE name = ${`ours-${n}`}`;
        const session_id: string = row.id;
        ids.push(session_id);
        for (const socket of [here, there])
          await socket.request("session.subscribe", { session_id, epoch, after: 0 });
      }
      await Promise.all(ids.map((session_id) => a.owner.call("session.delete", { session_id })));
      for (const session_id of ids) {
        for (const socket of [here, there]) {
          const seen = await within(
            () => told(socket, session_id),
            (lines) => lines.at(-1)?.startsWith("session.unsubscribed") === true,
          );
          expect(seen.at(-1)).toBe("session.unsubscribed deleted");
          expect(JSON.parse(seen.at(-2) ?? "")).toMatchObject({ event: "session.closed" });
        }
      }
    });

    test("epochs are drawn anew, as after a restore, while a run speaks", async () => {
      await using nodes = await startNodes();
      const [a, b] = [nodes.node(0), nodes.node(1)];
      const session_id = "talk";
      await say(a.owner, { session_id, message: "first" });
      const { epoch } = await a.owner.call("session.get", { session_id });
      await using here = await follow(a, session_id, epoch);
      await using there = await follow(b, session_id, epoch);
      nodes.model.reply().tokens(2_000, { everyMs: 20 });
      const { run_id } = await a.owner.call("chat.send", { session_id, message: "go on" });
      for (const { socket } of [here, there])
        await socket.next(({ json }) => json.event === "message.delta" && json.run_id === run_id, 15_000);
      // What the next node that starts finds on a database that was restored.
      await nodes.sql`UPDATE agentbus.meta SET value = '{}' WHERE name = 'identity'`;
      const c = await nodes.add();
      await Promise.all([unsubscribed(here), unsubscribed(there)]);
      await settled(nodes.sql);
      const truth = await readTruth(nodes.sql, session_id);
      expect(truth.epoch).not.toBe(epoch);
      expect(truth.transcript.runs.at(-1)).toMatchObject({ run_id, status: "interrupted" });
      const events = new Map(truth.events.map((event) => [event.seq, event]));
      for (const { socket } of [here, there]) {
        const seen = told(socket, session_id);
        expect(seen.at(-1)).toBe("session.unsubscribed epoch");
        for (const frame of log(socket, session_id)) {
          expect(frame.epoch).toBe(epoch);
          const { event, payload } = events.get(frame.seq) ?? { event: "none", payload: null };
          expect({ event: frame.event, payload: frame.payload }).toEqual({ event, payload } as never);
        }
        const after = log(socket, session_id).at(-1)?.seq;
        const again = await socket.request("session.subscribe", { session_id, epoch, after });
        expect(again).toMatchObject({ mode: "reset", reason: "epoch", epoch: truth.epoch });
      }
      for (const { stream } of [here, there]) {
        const seen = toldBy(await stream.rest());
        expect(seen.at(-1)).toBe("session.unsubscribed epoch");
        for (const data of seen.slice(0, -1)) expect(JSON.parse(data)).toMatchObject({ epoch });
      }
      for (const node of [a, b, c])
        expect((await say(node.owner, { session_id, message: node.name })).run).toMatchObject({
          status: "completed",
        });
      for (const { socket } of [here, there]) {
        await within(
          () => log(socket, session_id).filter((frame) => frame.epoch === truth.epoch && isEnd(frame)).length,
          (count) => count === 3,
        );
        expect(log(socket, session_id).findLast((frame) => frame.epoch === epoch)?.seq).toBeLessThanOrEqual(
          truth.head,
        );
      }
    });
  },
);
