import { deviceFromKey } from "../support/device.ts";
import type { Payload, RecordedSocket } from "./golden.recorder.ts";
import type { Stage } from "./golden.sockets.ts";
import { connected } from "./golden.sockets.ts";

/** The example of docs/protocol.md, so that its key and id are the same there. */
const DEVICE = deviceFromKey("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");

/** With `auth.mode = "device"`. */
export async function devices({ record }: Stage): Promise<void> {
  record.note("A device that nobody knows signs the challenge, and reads the code it has to show.");
  const stranger = await record.socket();
  const told = await prove(stranger);
  await stranger.closed();
  record.note("Somebody who may compares the code, and admits it.");
  const owner = await connected(record);
  await owner.until("connect.challenge");
  await owner.ask("1", "device.list");
  const { code } = told.details;
  await owner.ask("2", "device.approve", { code, scopes: ["chat.read", "chat.write"], name: "Phone" });
  record.note("From its next connect on it is in, here with less than it was granted.");
  const device = await record.socket();
  await prove(device, ["chat.read"]);
  await device.ask("1", "chat.send", { message: "Hello" });
  record.note("Revoked, it is told so, and does not come back.");
  await owner.ask("3", "device.revoke", { device_id: DEVICE.device_id });
  await device.closed();
  record.note("Refused, a device reads 4003.");
  const again = await record.socket();
  const asked = await prove(again);
  await again.closed();
  await owner.ask("4", "device.reject", { code: asked.details.code });
  const refused = await record.socket();
  await prove(refused);
  await refused.closed();
}

async function prove(socket: RecordedSocket, scopes?: readonly string[]): Promise<Payload> {
  const { payload } = await socket.until("connect.challenge");
  const { nonce, server_id } = payload;
  const { scopes: said, ...proof } = DEVICE.prove({
    nonce,
    server_id,
    client_id: "phone-1",
    scopes: scopes ?? [],
  });
  const device = { ...proof, ...(scopes !== undefined && { scopes: said }) };
  return socket.ask("h", "connect", {
    client_id: "phone-1",
    client_name: "My phone",
    platform: "android",
    device,
  });
}
