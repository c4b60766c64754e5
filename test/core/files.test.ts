import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { OpenFile } from "../../src/core/attachment.ts";
import type { Caller } from "../../src/core/call.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Principal } from "../../src/core/principal.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import type { TestEngine } from "../support/engine.ts";
import { startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";

/** What becomes of a file whose reader or writer may not any more, in the middle of it. */

const PIECE = 256 * 1024;
const TEXT = "0123456789abcdef".repeat((3 * PIECE) / 16);

function callerOf(user: string): Caller {
  const principal: Principal = {
    user,
    scopes: new Set(["chat.read", "chat.write"]),
    method: "token",
    credential: "tok_1",
    expires_at: null,
  };
  const { signal } = new AbortController();
  return { principal, transport: "rest", client_id: "test", remote: "::1", connection: null, signal };
}

async function* chunks(text: string, between: () => void = () => undefined): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < text.length; at += PIECE) {
    yield Buffer.from(text.slice(at, at + PIECE));
    between();
  }
}

/** A session with a file of three pieces, open, its first piece read. */
async function opened(
  core: TestEngine,
): Promise<{ next: () => Promise<unknown>; open: () => Promise<OpenFile> }> {
  const owner = core.connect("owner");
  const { attachment_id } = await core.engine.files.receive(callerOf("owner"), "a.txt", chunks(TEXT));
  await owner.request("session.create", { session_id: "s" });
  const message = { role: "user", content: "x", attachments: [attachment_id] };
  await owner.request("chat.inject", { session_id: "s", ...message });
  const open = (): Promise<OpenFile> => core.engine.files.open(callerOf("owner"), "s", attachment_id);
  const content = (await open()).content()[Symbol.asyncIterator]();
  const first = await content.next();
  expect((first.value as Uint8Array).length).toBe(PIECE);
  return { next: () => content.next(), open };
}

async function reasonOf(work: Promise<unknown>): Promise<string> {
  const outcome = await work.catch((error: unknown) => error);
  return outcome instanceof GatewayError ? outcome.reason : "none";
}

test("a session that is deleted is read no further", async () => {
  const core = await startEngine();
  const { next, open } = await opened(core);
  await core.connect("owner").request("session.delete", { session_id: "s" });
  expect(await reasonOf(next())).toBe("GONE");
  expect(await reasonOf(open())).toBe("GONE");
  await core.close();
});

test("a credential that ends takes what is being read and sent with it", async () => {
  let live = true;
  const core = await startEngine({ isLive: () => live });
  const { next, open } = await opened(core);
  const coming = core.engine.files.receive(
    callerOf("owner"),
    "b.txt",
    chunks(TEXT, () => (live = false)),
  );
  expect(await reasonOf(coming)).toBe("UNAUTHORIZED");
  expect(await reasonOf(next())).toBe("UNAUTHORIZED");
  expect(await reasonOf(open())).toBe("UNAUTHORIZED");
  await core.close();
});

test("a gateway that stops takes no file in", async () => {
  const core = await startEngine();
  await core.engine.drain(0);
  expect(await reasonOf(core.engine.files.receive(callerOf("owner"), "a.txt", chunks("x")))).toBe(
    "UNAVAILABLE",
  );
  await core.close();
});

test("storage that refuses takes no piece of a file, and the next file is taken once it does again", async () => {
  const { store, faults } = withFaults(createMemoryStore({ clock: systemClock, limits: DEFAULT_LIMITS }));
  const core = await startEngine({ store });
  const { files } = core.engine;
  let pieces = 0;
  const cut = files.receive(
    callerOf("owner"),
    "a.txt",
    chunks(TEXT, () => {
      if (++pieces === 2) faults.outage("full");
    }),
  );
  expect(await reasonOf(cut)).toBe("UNAVAILABLE");
  expect(await reasonOf(files.receive(callerOf("owner"), "b.txt", chunks("x")))).toBe("UNAVAILABLE");
  faults.outage(null);
  await until(() => core.engine.journal.refused === null);
  const { attachment_id } = await files.receive(callerOf("owner"), "c.txt", chunks("x"));
  expect(await store.uploads("owner", [attachment_id])).toMatchObject([{ name: "c.txt", bytes: 1 }]);
  await core.close();
});

test("of a file that is refused in the middle nothing counts any more", async () => {
  const core = await startEngine({ limits: { attachment_bytes_per_user: TEXT.length + PIECE } });
  const { files } = core.engine;
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield* chunks(TEXT);
    yield new Uint8Array(1);
  }
  // A NUL at its end: it is no text, which only shows there.
  expect(await reasonOf(files.receive(callerOf("owner"), "a.txt", broken()))).toBe("INVALID_REQUEST");
  expect(await reasonOf(files.receive(callerOf("owner"), "a.txt", chunks(TEXT)))).toBe("none");
  await core.close();
});
