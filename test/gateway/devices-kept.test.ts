import { expect, test } from "bun:test";
import { askToPair, connectDevice, newDevice } from "../support/device.ts";
import { openSocket } from "../support/ws-client.ts";
import { refusal, startStack } from "./stack.ts";

/** What is left of devices: in the store, and in the audit trail. */

test("a restart keeps devices and their logins; who still waits is given another code", async () => {
  await using own = await startStack({ config: { auth: { mode: "multi", modes: ["token", "device"] } } });
  const [device, waiting] = [newDevice(), newDevice()];
  const grant = { public_key: device.public_key, name: "kept", user: "owner", scopes: ["chat.read"] };
  const { device_id } = await own.owner.call("device.register", grant);
  await using before = await openSocket(own.gateway.ws_url);
  const { json } = await before.nextEvent("connect.challenge");
  await before.request("connect", { client_id: "cli", device: device.prove(json.payload) });
  const { session_token } = await before.request("auth_session.create");
  const code = await askToPair(own.gateway.ws_url, waiting);
  own.gateway.kill();
  await own.gateway.restart();
  const again = own.person(own.gateway.token);
  const { devices, pairing_requests } = await again.call("device.list");
  expect(devices).toMatchObject([{ device_id, name: "kept", last_used_at: expect.any(Number) }]);
  expect(pairing_requests).toEqual([]);
  await using after = await openSocket(own.gateway.ws_url);
  const challenge = (await after.nextEvent("connect.challenge")).json.payload;
  expect(challenge.server_id).toBe(json.payload.server_id);
  const hello = { client_id: "cli", device: device.prove(challenge) };
  expect(await after.request("connect", hello)).toMatchObject({ auth_info: { method: "device" } });
  expect(await own.person(session_token).ask("GET", "/api/v1/sessions")).toMatchObject({ status: 200 });
  expect(await askToPair(own.gateway.ws_url, waiting)).not.toBe(code);
});

test("the audit trail has who was let in, refused and revoked, and by whom; neither codes nor signatures", async () => {
  await using stack = await startStack({ config: { auth: { mode: "device" } } });
  const { owner } = stack;
  const [device, other] = [newDevice(), newDevice()];
  const operator = await stack.guest({ user: "olga", role: "operator" });
  const code = await askToPair(stack.gateway.ws_url, device);
  await operator.call("device.approve", { code, role: "viewer", name: "Tablet" });
  await using socket = await openSocket(stack.gateway.ws_url);
  await connectDevice(socket, device);
  const refused = await askToPair(stack.gateway.ws_url, other);
  await operator.call("device.reject", { code: refused });
  const { device_id } = device;
  await operator.call("device.rename", { device_id, name: "Old tablet" });
  await operator.call("device.revoke", { device_id });
  await refusal(operator.call("device.approve", { code, role: "viewer" }));
  const { entries } = await owner.call("audit.list", { user: "olga", limit: 100 });
  const told = entries.filter(({ action, method }: { action: string; method: string }) =>
    action.startsWith("device.") ? true : action === "login" && method === "device",
  );
  const said = told.map((each: Record<string, unknown>) => [
    each["action"],
    each["outcome"],
    each["target"] ?? null,
  ]);
  expect(said.toSorted()).toEqual(
    [
      ["device.approve", "ok", device_id],
      ["login", "ok", null],
      ["device.reject", "ok", other.device_id],
      ["device.rename", "ok", device_id],
      ["device.revoke", "ok", device_id],
      ["device.approve", "NOT_FOUND", null],
    ].toSorted(),
  );
  expect(told.find(({ action }: { action: string }) => action === "login")).toMatchObject({
    credential: device_id,
  });
  const all = JSON.stringify(await owner.call("audit.list", { limit: 200 }));
  for (const secret of [code, refused, device.public_key]) expect(all).not.toContain(secret);
});
