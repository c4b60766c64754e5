import { png } from "../support/images.ts";
import { connectNarrow } from "../support/narrow-socket.ts";
import { download, send, upload } from "./files.fixture.ts";
import type { LimitGroup, Reached } from "./limit-rows.ts";
import { fresh, refusedBy } from "./limit-rows.ts";
import type { Person, Stack } from "./stack.ts";
import { eventually } from "./stack.ts";

/** What files may be, and how many. */
const full = { code: "CONFLICT", kind: "full", status: 409 } as const;

async function refused(response: Promise<Response>): Promise<Reached> {
  const { status, headers, ...answer } = await response.then(async (each) => ({
    status: each.status,
    headers: each.headers,
    // oxlint-disable-next-line typescript/no-explicit-any -- an error's body
    json: await each.json(),
  }));
  return { error: answer.json.error, status, retry_after: headers.get("retry-after") };
}

async function uploads(stack: Stack, person: Person, times: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < times; i++) ids.push((await upload(stack, person, `file ${i}`)).attachment_id);
  return ids;
}

/** Uploads that have begun and do not end by themselves; the answer ends them. */
async function underWay(stack: Stack, person: Person, times: number): Promise<() => Promise<void>> {
  const parts = Array.from({ length: times }, () => {
    const gate = Promise.withResolvers<void>();
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode("be")),
      async pull(controller) {
        await gate.promise;
        controller.enqueue(new TextEncoder().encode("gun"));
        controller.close();
      },
    });
    return { gate, done: send(stack, person, body) };
  });
  return async () => {
    for (const { gate } of parts) gate.resolve();
    await Promise.all(parts.map(({ done }) => done));
  };
}

/** A file of a message in a session of theirs, longer than what is on its way in a connection. */
async function kept(stack: Stack, person: Person): Promise<string> {
  const { attachment_id } = await upload(stack, person, "x".repeat(1_000_000));
  await person.call("session.create", { session_id: "kept" });
  const message = { role: "user", content: "x", attachments: [attachment_id] };
  await person.call("chat.inject", { session_id: "kept", ...message });
  return attachment_id;
}

/** A download of which nothing is read but how it begins; the answer ends it. */
async function unread({ gateway }: Stack, { bearer }: Person, attachment_id: string): Promise<() => void> {
  const begun = Promise.withResolvers<void>();
  const socket = await connectNarrow(Number(new URL(gateway.url).port), null, {
    data(each) {
      each.pause();
      begun.resolve();
    },
  });
  const path = `/api/v1/sessions/kept/attachments/${attachment_id}`;
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${bearer.authorization}\r\n\r\n`);
  await begun.promise;
  return () => socket.terminate();
}

/** Asks until it is refused: what was begun may not have arrived yet. */
async function untilRefused(stack: Stack, person: Person): Promise<Reached> {
  for (;;) {
    const response = await send(stack, person, "one more");
    if (response.status !== 201) return refused(Promise.resolve(response));
    await Bun.sleep(5);
  }
}

export const FILES: LimitGroup = {
  name: "files",
  config: {
    limits: {
      attachment_bytes: 100,
      attachment_pixels: 1_000,
      attachments_per_message: 2,
      attachments_per_user: 3,
      attachment_bytes_per_user: 160,
    },
  },
  rows: [
    {
      option: "attachment_bytes",
      value: 100,
      ways: {
        "a file": {
          says: { code: "TOO_LARGE", kind: "attachment", status: 413 },
          reach: async (stack) => refused(send(stack, await fresh(stack), "x".repeat(101))),
        },
        "one that says its length": {
          says: { code: "TOO_LARGE", kind: "attachment", status: 413 },
          reach: async (stack) => refused(send(stack, await fresh(stack), "x".repeat(100_000))),
        },
        "one that does not": {
          says: { code: "TOO_LARGE", kind: "attachment", status: 413 },
          reach: async (stack) => {
            const body = new Blob(["x".repeat(100_000)]).stream();
            return refused(send(stack, await fresh(stack), body));
          },
        },
      },
      again: async (stack) => upload(stack, await fresh(stack), "x".repeat(100)),
    },
    {
      option: "attachment_pixels",
      value: 1_000,
      ways: {
        "an image": {
          says: { code: "TOO_LARGE", kind: "attachment", status: 413 },
          reach: async (stack) => refused(send(stack, await fresh(stack), png(1_001, 1))),
        },
      },
      again: async (stack) => upload(stack, await fresh(stack), png(10, 100)),
    },
    {
      option: "attachments_per_message",
      value: 2,
      ways: {
        "a message": {
          says: { code: "TOO_LARGE", kind: "attachments" },
          reach: async (stack) => {
            const person = await fresh(stack);
            const attachments = await uploads(stack, person, 3);
            return refusedBy(person.call("chat.send", { message: "x", attachments }));
          },
        },
      },
      again: async (stack) => {
        const person = await fresh(stack);
        const { session_id } = await person.call("session.create");
        const attachments = await uploads(stack, person, 1);
        await person.call("chat.inject", { session_id, role: "user", content: "x", attachments });
      },
    },
    {
      option: "attachments_per_user",
      value: 3,
      ways: {
        "by an upload": {
          says: full,
          reach: async (stack) => {
            const person = await fresh(stack);
            await uploads(stack, person, 3);
            return refused(send(stack, person, "one more"));
          },
        },
        "by a message": {
          says: { code: "CONFLICT", kind: "full" },
          reach: async (stack) => {
            const person = await fresh(stack);
            const attachments = await uploads(stack, person, 2);
            return refusedBy(person.call("chat.send", { message: "x", attachments }));
          },
        },
      },
      again: async (stack) => uploads(stack, await fresh(stack), 3),
    },
    {
      option: "attachment_bytes_per_user",
      value: 160,
      ways: {
        "by an upload": {
          says: full,
          reach: async (stack) => {
            const person = await fresh(stack);
            await upload(stack, person, "x".repeat(100));
            return refused(send(stack, person, "y".repeat(61)));
          },
        },
      },
      again: async (stack) => {
        const person = await fresh(stack);
        await upload(stack, person, "x".repeat(100));
        await upload(stack, person, "y".repeat(60));
      },
    },
  ],
};

export const SENDING: LimitGroup = {
  name: "files that are being sent",
  config: { limits: { downloads_per_user: 2 } },
  rows: [
    {
      option: "downloads_per_user",
      value: 2,
      ways: {
        "of slow readers": {
          says: { code: "RATE_LIMITED", kind: "downloads", status: 429, retry_after: "1" },
          reach: async (stack) => {
            const [person, other] = [await fresh(stack), await fresh(stack)];
            const file = await kept(stack, person);
            const ends = await Promise.all([1, 2].map(() => unread(stack, person, file)));
            const reached = await refused(download(stack, person, "kept", file));
            const others = await download(stack, other, "kept", await kept(stack, other));
            if ((await others.text()).length !== 1_000_000) throw new Error("another user is refused");
            for (const end of ends) end();
            await eventually(
              async () => (await (await download(stack, person, "kept", file)).text()).length,
              (length) => length === 1_000_000,
            );
            return reached;
          },
        },
      },
      again: async (stack) => {
        const person = await fresh(stack);
        const file = await kept(stack, person);
        for (let i = 0; i < 3; i++) await (await download(stack, person, "kept", file)).text();
      },
    },
  ],
};

export const RECEIVING: LimitGroup = {
  name: "files that are being received",
  config: { limits: { uploads: 3, uploads_per_user: 2 } },
  rows: [
    {
      option: "uploads_per_user",
      value: 2,
      ways: {
        "of one user": {
          says: { code: "RATE_LIMITED", kind: "uploads", status: 429, retry_after: "1" },
          reach: async (stack) => {
            const person = await fresh(stack);
            const end = await underWay(stack, person, 2);
            const reached = await untilRefused(stack, person);
            await upload(stack, await fresh(stack), "of another");
            await end();
            return reached;
          },
        },
      },
      again: async (stack) => upload(stack, await fresh(stack), "again"),
    },
    {
      option: "uploads",
      value: 3,
      ways: {
        "of several": {
          says: { code: "RATE_LIMITED", kind: "uploads", status: 429, retry_after: "1" },
          reach: async (stack) => {
            const ends = await Promise.all([
              underWay(stack, await fresh(stack), 2),
              underWay(stack, await fresh(stack), 1),
            ]);
            const reached = await untilRefused(stack, await fresh(stack));
            await Promise.all(ends.map((end) => end()));
            return reached;
          },
        },
      },
      again: async (stack) => upload(stack, await fresh(stack), "again"),
    },
  ],
};
