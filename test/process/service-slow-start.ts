import { expect } from "bun:test";
import { eventually } from "../gateway/stack.ts";
import type { BootedMachine } from "../support/booted.ts";

const DROP_IN = "/run/systemd/system/agentbus.service.d/slow.conf";
const TIMES = ["ActiveEnterTimestampMonotonic", "InactiveExitTimestampMonotonic"] as const;

/** The service is started on a disk that takes 1.5 s for each fsync, by a unit that gives 4 s to a start: stopped, then waited for. */
export async function slowStart(
  machine: BootedMachine,
  show: (...names: readonly string[]) => Promise<Record<string, string>>,
  { data_dir, shim }: { readonly data_dir: string; readonly shim: string },
): Promise<void> {
  const control = `${data_dir}/slow`;
  const slow = `Environment=LD_PRELOAD=${shim} AGENTBUS_SHIM_CONTROL=${control} AGENTBUS_SHIM_MATCH=agentbus.db`;
  const sh = (...lines: readonly string[]) => machine.must("sh", "-c", lines.join(" && "));
  const start = async (): Promise<void> => {
    await machine.must("systemctl", "start", "--no-block", "agentbus");
    await eventually(
      () => show("StatusText"),
      (each) => each["StatusText"] === "opening the database",
    );
  };
  await machine.must("systemctl", "stop", "agentbus");
  await sh(
    `mkdir -p $(dirname ${DROP_IN})`,
    `printf '[Service]\\nTimeoutStartSec=4s\\n${slow}\\n' > ${DROP_IN}`,
    `printf '\\334\\005\\0\\0' > ${control}`,
    `chown agentbus ${control}`,
    "systemctl daemon-reload",
  );
  await start();
  await machine.must("systemctl", "stop", "agentbus");
  expect(await show("ActiveState", "Result")).toEqual({ ActiveState: "inactive", Result: "success" });
  await start();
  await Bun.sleep(4_500);
  // Quick again, in the same file: the process has it mapped.
  await machine.must("dd", "if=/dev/zero", `of=${control}`, "bs=4", "count=1", "conv=notrunc");
  const ready = await eventually(
    () => show("ActiveState", "NRestarts", ...TIMES),
    (each) => each["ActiveState"] === "active",
    30_000,
  );
  expect(ready["NRestarts"]).toBe("0");
  expect(Number(ready[TIMES[0]]) - Number(ready[TIMES[1]])).toBeGreaterThan(4_000_000);
  await sh(`rm ${DROP_IN} ${control}`, "systemctl daemon-reload", "systemctl restart agentbus");
}
