import { describe, expect, test } from "bun:test";
import { findSupervisor } from "../../src/supervisor.ts";
import type { SupervisorOptions } from "../../src/supervisor.ts";
import { manualClock } from "../support/clock.ts";
import { createLogbook } from "../support/logbook.ts";
import { listenForNotices } from "../support/notify-listener.ts";

const isLinux = process.platform === "linux";
const DEAD_MS = 30_000;

function setUp(env: Record<string, string>, answers: SupervisorOptions["answers"] = async () => undefined) {
  const clock = manualClock();
  const log = createLogbook();
  const supervisor = findSupervisor({ env, pid: 4711, clock, log, answers });
  return { clock, log, supervisor };
}
const watched = { WATCHDOG_USEC: String(DEAD_MS * 1_000), WATCHDOG_PID: "4711" };

/** Lets promises that are due settle. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe.skipIf(!isLinux)("a service manager", () => {
  test.each(["path", "abstract"] as const)("is told at an address that is a %s", async (where) => {
    using manager = listenForNotices(where);
    const { supervisor } = setUp({ NOTIFY_SOCKET: manager.address });
    const told = await supervisor;
    told.ready("listening on http://127.0.0.1:1");
    expect(told.whileReloading(() => "done")).toBe("done");
    expect(() =>
      told.whileReloading(() => {
        throw new Error("wrong");
      }),
    ).toThrow("wrong");
    told.stopping(1_234.5);
    told.close();
    told.close();
    told.ready("never");
    const reloading = expect.stringMatching(/^RELOADING=1\nMONOTONIC_USEC=\d+$/);
    expect(manager.read()).toEqual([
      "READY=1\nSTATUS=listening on http://127.0.0.1:1",
      reloading,
      "READY=1",
      reloading,
      "READY=1",
      "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=1235000",
    ]);
  });

  test("gives a start as long as the database takes to open, and the rest of it as long as any", async () => {
    using manager = listenForNotices("path");
    const { clock, supervisor } = setUp({ NOTIFY_SOCKET: manager.address });
    const told = await supervisor;
    const extended = "EXTEND_TIMEOUT_USEC=600000000";
    told.opening("copying the database");
    // Longer than any unit gives it. Its queue holds a few, and no more.
    for (let ms = 0; ms < 3_600_000 && manager.read(); ms += 20_000) clock.advance(20_000);
    expect(manager.read()).toEqual([
      `STATUS=copying the database\n${extended}`,
      ...Array.from({ length: 180 }, () => extended),
    ]);
    told.opening("bringing it up to date");
    clock.advance(20_000);
    expect(manager.read().slice(181)).toEqual([`STATUS=bringing it up to date\n${extended}`, extended]);
    told.opening(null);
    clock.advance(3_600_000);
    expect([manager.read().length, clock.pending]).toEqual([183, 0]);
    told.close();
  });

  test("sees three signs of life in the time after which it would give up, each after an answer", async () => {
    using manager = listenForNotices("path");
    let held: PromiseWithResolvers<void> | null = null;
    let asked = 0;
    const { clock, supervisor } = setUp({ NOTIFY_SOCKET: manager.address, ...watched }, async () => {
      asked++;
      await held?.promise;
    });
    const told = await supervisor;
    const signs = (): number => manager.read().filter((each) => each === "WATCHDOG=1").length;
    told.ready("here");
    expect(signs()).toBe(0);
    for (const count of [1, 2, 3]) {
      clock.advance(DEAD_MS / 3);
      await turn();
      expect([signs(), asked]).toEqual([count, count]);
    }
    // What does not answer is asked once, and is no sign of life until it does.
    held = Promise.withResolvers();
    clock.advance(DEAD_MS);
    await turn();
    expect([signs(), asked]).toEqual([3, 4]);
    held.resolve();
    await turn();
    expect(signs()).toBe(4);
    held = null;
    told.close();
    clock.advance(DEAD_MS);
    await turn();
    expect([signs(), asked]).toEqual([4, 4]);
  });

  test("sees none of what is gone, and none is owed to one that watches nobody, or another", async () => {
    using manager = listenForNotices("path");
    const gone = setUp({ NOTIFY_SOCKET: manager.address, ...watched }, () =>
      Promise.reject(new Error("gone")),
    );
    const others = [{}, { WATCHDOG_USEC: "0" }, { WATCHDOG_USEC: "x" }, { ...watched, WATCHDOG_PID: "1" }];
    const idle = others.map((env) => setUp({ NOTIFY_SOCKET: manager.address, ...env }));
    for (const { clock, supervisor } of [gone, ...idle]) {
      (await supervisor).ready("here");
      clock.advance(DEAD_MS * 2);
      await turn();
    }
    expect(new Set(manager.read())).toEqual(new Set(["READY=1\nSTATUS=here"]));
  });

  test("that does not take what it is told is told again until it does", async () => {
    using manager = listenForNotices("path");
    const { clock, log, supervisor } = setUp({ NOTIFY_SOCKET: manager.address });
    const told = await supervisor;
    // Its queue holds so many, and no more.
    for (let i = 0; i < 1_000; i++) told.ready(String(i));
    expect(log.lines.map(({ message }) => message)).toEqual([expect.stringContaining("told again")]);
    for (let i = 0; i < 1_000 && manager.read().length < 1_000; i++) clock.advance(500);
    expect(manager.read().map((text) => text.split("=").at(-1))).toEqual(
      Array.from({ length: 1_000 }, (_each, i) => String(i)),
    );
    told.close();
  });
});

test("without an address nobody is told, and one that is none is logged", async () => {
  const { clock, log, supervisor } = setUp(watched, () => Promise.reject(new Error("not asked")));
  (await supervisor).ready("here");
  clock.advance(DEAD_MS);
  (await supervisor).stopping(1);
  expect(log.lines).toEqual([]);
  for (const address of ["relative", "@", `/${"x".repeat(107)}`, "vsock:2:1234"]) {
    const wrong = setUp({ NOTIFY_SOCKET: address });
    (await wrong.supervisor).ready("here");
    expect(wrong.log.lines.map(({ level }) => level)).toEqual(["warn"]);
  }
});
