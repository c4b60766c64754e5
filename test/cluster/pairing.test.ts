import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { askToPair, connectDevice, newDevice } from "../support/device.ts";
import { hasPostgres } from "../support/postgres.ts";
import { openSocket } from "../support/ws-client.ts";
import { startNodes, within } from "./nodes.ts";

setDefaultTimeout(60_000);

interface Listed {
  readonly devices: { readonly device_id: string }[];
  readonly pairing_requests: { readonly code: string }[];
}

describe.skipIf(!hasPostgres)("devices at several nodes", () => {
  test("what asks to be paired at one node is listed, admitted or refused at another", async () => {
    await using nodes = await startNodes({ count: 2, config: { auth: { mode: "device" } } });
    const [a, b] = [nodes.node(0), nodes.node(1)];
    const listed = (): Promise<Listed> => b.owner.call("device.list");
    const [wanted, unwanted] = [newDevice(), newDevice()];
    const code = await askToPair(a.ws_url, wanted);
    const other = await askToPair(a.ws_url, unwanted);
    await within(listed, ({ pairing_requests }) => pairing_requests.length === 2);
    // Whichever node it asks again, it shows the same code.
    expect(await askToPair(b.ws_url, wanted)).toBe(code);
    await b.owner.call("device.approve", { code, role: "viewer" });
    await b.owner.call("device.reject", { code: other });
    for (const node of [a, b]) {
      const entered = async (): Promise<boolean> => {
        await using socket = await openSocket(node.ws_url);
        return await connectDevice(socket, wanted).then(
          () => true,
          () => false,
        );
      };
      await within(entered, (yes) => yes);
      const refused = await askToPair(node.ws_url, unwanted).catch(({ cause }: Error) => cause);
      expect(refused).toMatchObject({ details: { kind: "pairing_rejected" } });
    }
    expect(await a.owner.call("device.list")).toMatchObject({ devices: [{}], pairing_requests: [] });
  });
});
