import { openSocket } from "../support/ws-client.ts";
import type { LimitGroup, Reached } from "./limit-rows.ts";
import { fresh, lastWords, refusedBy, refusedIn } from "./limit-rows.ts";
import { openRaw } from "./raw-socket.ts";
import type { Person, Stack } from "./stack.ts";
import { ask, eventually } from "./stack.ts";

const TOO_LARGE = { code: "TOO_LARGE", kind: null, close: 1009 } as const;

function nested(levels: number): string {
  return "[".repeat(levels) + "]".repeat(levels);
}

/** Many requests in one piece, so that all of them are there before the first is answered; the refusals. */
async function refusedOf(person: Person, stack: Stack, requests: readonly object[]): Promise<Reached[]> {
  await using socket = await openRaw(stack.gateway.address, person.token);
  socket.write(...requests.map((request, i) => ({ type: "req", id: `r${i}`, ...request })));
  const answers = (): { ok: boolean; error: Reached["error"] }[] =>
    socket.frames.filter(({ type }) => type === "res");
  const all = await eventually(answers, ({ length }) => length >= requests.length);
  return all.filter(({ ok }) => !ok).map(({ error }) => ({ error }));
}

function only<T>(all: readonly T[]): T {
  const [first] = all;
  if (first === undefined || all.length > 1)
    throw new Error(`one of these was expected: ${JSON.stringify(all)}`);
  return first;
}

async function works({ owner }: Stack): Promise<void> {
  await using socket = await owner.connect();
  await socket.request("session.list");
}

export const FRAMES: LimitGroup = {
  name: "frames",
  config: {
    limits: {
      connect_bytes: 1_024,
      frame_bytes: 16_384,
      message_bytes: 512,
      body_bytes: 2_048,
      in_flight: 3,
      waits_in_flight: 2,
      json_depth: 6,
      bad_frames_per_minute: 4,
      control_frames_per_second: 20,
    },
  },
  rows: [
    {
      option: "connect_bytes",
      value: 1_024,
      ways: {
        "in one frame": {
          says: TOO_LARGE,
          reach: async (stack) => {
            await using socket = await openSocket(stack.gateway.ws_url);
            socket.send({ type: "req", id: "h", method: "connect", params: {}, pad: "x".repeat(1_024) });
            return await lastWords(socket);
          },
        },
        "in several": {
          says: TOO_LARGE,
          reach: async (stack) => {
            await using socket = await openSocket(stack.gateway.ws_url);
            const bad = {
              type: "req",
              id: "h",
              method: "connect",
              params: { version: 1 },
              pad: "x".repeat(400),
            };
            for (let i = 0; i < 3; i++) socket.send(bad);
            return await lastWords(socket);
          },
        },
      },
      again: async ({ gateway, owner }) => {
        await using socket = await openSocket(gateway.ws_url);
        await socket.request("connect", { auth_token: owner.token });
      },
    },
    {
      option: "body_bytes",
      value: 2_048,
      ways: {
        "of a length that is said": {
          says: { code: "TOO_LARGE", kind: "body", status: 413 },
          reach: ({ owner }) =>
            refusedIn(owner.ask("POST", "/api/v1/sessions", { body: { pad: "x".repeat(2_048) } })),
        },
        "of one that is not": {
          says: { code: "TOO_LARGE", kind: "body", status: 413 },
          reach: async ({ gateway, owner }) => {
            const response = await fetch(`${gateway.url}/api/v1/sessions`, {
              method: "POST",
              headers: { ...owner.bearer, "content-type": "application/json" },
              body: new Blob([JSON.stringify({ pad: "x".repeat(2_048) })]).stream(),
            });
            const { error } = (await response.json()) as { error: Reached["error"] };
            return { error, status: response.status };
          },
        },
        "by somebody unknown": {
          says: { code: "TOO_LARGE", kind: "body", status: 413 },
          reach: ({ gateway }) =>
            refusedIn(
              ask(`${gateway.url}/api/v1/auth_sessions`, "POST", { body: { pad: "x".repeat(2_048) } }),
            ),
        },
      },
      again: works,
    },
    {
      option: "json_depth",
      value: 6,
      ways: {
        "in a frame": {
          says: { code: "INVALID_REQUEST", kind: "depth" },
          reach: async ({ owner }) => {
            await using socket = await owner.connect();
            socket.send(`{"type":"req","id":"1","method":"heartbeat","x":${nested(6)}}`);
            return { error: (await socket.next(({ json }) => json.type === "res")).json.error };
          },
        },
        "in a body": {
          says: { code: "INVALID_REQUEST", kind: "depth", status: 400 },
          reach: ({ owner }) =>
            refusedIn(owner.ask("POST", "/api/v1/sessions", { body: `{"metadata":${nested(6)}}` })),
        },
      },
      again: async ({ owner }) => {
        await using socket = await owner.connect();
        socket.send(`{"type":"req","id":"1","method":"heartbeat","x":${nested(5)}}`);
        await socket.next(({ json }) => json.id === "1" && json.ok === true);
      },
    },
    {
      option: "in_flight",
      value: 3,
      ways: {
        "on one socket": {
          says: { code: "RATE_LIMITED", kind: "in_flight" },
          reach: async (stack) => {
            const person = await fresh(stack);
            // On a busy machine the first may be answered before the last is read: then it is tried again.
            for (let n = 0; n < 20; n++) {
              const session_id = `s${n}`;
              await person.call("session.create", { session_id });
              const params = { session_id, role: "user", content: "x" };
              const inject = { method: "chat.inject", params };
              const refused = await refusedOf(person, stack, [inject, inject, inject, inject]);
              if (refused.length === 0) continue;
              // Nothing was done for the one that was refused.
              await eventually(
                async () => (await person.call("chat.history", { session_id })).total,
                (total) => total === 3,
              );
              return only(refused);
            }
            throw new Error("none was refused");
          },
        },
      },
      again: works,
    },
    {
      option: "waits_in_flight",
      value: 2,
      ways: {
        "on one socket": {
          says: { code: "RATE_LIMITED", kind: "in_flight" },
          reach: async ({ owner, model }) => {
            model.reply().text("x").hang();
            await using socket = await owner.connect();
            const { run_id } = await socket.request("chat.send", { message: "go" });
            const waits = [1, 2].map(() => socket.request("run.wait", { run_id }));
            const reached = await refusedBy(socket.request("run.wait", { run_id }));
            await socket.request("chat.abort", { run_id });
            await Promise.all(waits);
            return reached;
          },
        },
      },
      again: works,
    },
  ],
};
