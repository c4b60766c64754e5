import { expect, test } from "bun:test";
import { stepsAfter } from "../../src/cli/init-steps.ts";
import type { Io } from "../../src/cli/io.ts";
import type { ServicePlace } from "../../src/cli/service-place.ts";

const IO = { env: {} } as Io;
const PLACE: ServicePlace = { kind: "systemd", file: "", config: "", data_dir: "" };

test("a service is said how to come by the key of this shell, and to be restarted", () => {
  expect(stepsAfter(PLACE, "MINE_API_KEY", IO)).toEqual([
    "the service does not see MINE_API_KEY of this shell: put the line MINE_API_KEY=… into /etc/agentbus/environment (chmod 600)",
    "have the service read it with: systemctl restart agentbus",
  ]);
  expect(stepsAfter({ ...PLACE, kind: "launchd" }, "MINE_API_KEY", IO)).toEqual([
    expect.stringContaining("api_key_file"),
    "have the service read it with: agentbus service install",
  ]);
  expect(stepsAfter(PLACE, null, IO)).toHaveLength(1);
});
