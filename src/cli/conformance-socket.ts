import { expectThat, Skipped } from "./conformance-check.ts";
import type { Check } from "./conformance-check.ts";
import type { Frame, Json } from "./conformance-world.ts";

const show = (value: unknown): string => JSON.stringify(value)?.slice(0, 300) ?? "nothing";

const NUMBERS = ["heartbeat_interval", "connection_timeout", "max_frame_bytes", "max_in_flight"];

/** The handshake, refusals, and what may be unknown. */
export const socketChecks: readonly Check[] = [
  {
    name: "handshake.connect",
    expects:
      "connect is answered with server_info (protocol_version 1), capabilities, features, policy and auth_info",
    async run(world) {
      const peer = await world.open();
      const { json } = await peer.ask("connect", {
        ...world.credential,
        client_name: "agentbus demo",
        protocol: { min: 1, max: 1 },
      });
      expectThat(json.ok === true, `it was refused: ${show(json.error)}`);
      const hello: Json = json.payload;
      const { server_info, capabilities, features, policy, auth_info } = hello ?? {};
      expectThat(server_info?.protocol_version === 1, `server_info is ${show(server_info)}`);
      expectThat(typeof server_info.connection_id === "string", `server_info is ${show(server_info)}`);
      expectThat(Array.isArray(capabilities), `capabilities is ${show(capabilities)}`);
      expectThat(
        Array.isArray(features?.methods) && Array.isArray(features?.events),
        `features is ${show(features)}`,
      );
      expectThat(typeof policy === "object" && policy !== null, `policy is ${show(policy)}`);
      expectThat(typeof auth_info?.user === "string", `auth_info is ${show(auth_info)}`);
      world.peer = peer;
      world.hello = hello;
      return `${server_info.name} ${server_info.version}, ${features.methods.length} methods, user ${auth_info.user}`;
    },
  },
  {
    name: "handshake.unknown_fields",
    expects: "fields of connect that nobody knows are ignored",
    async run(world) {
      const peer = await world.connect({ x_later: { a: [1] } });
      const { json } = await peer.ask("heartbeat", {});
      return `connected, and a heartbeat is answered with ${show(json.payload)}`;
    },
  },
  {
    name: "handshake.refused",
    expects: "a wrong token is answered with UNAUTHORIZED (4001), and the socket closed with 4001",
    async run(world) {
      if (world.hello?.auth_info?.method === "none") throw new Skipped("this server takes everybody in");
      const peer = await world.open();
      const { json } = await peer.ask("connect", { auth_token: `agb_${"x".repeat(43)}` });
      const { code, status } = json.error ?? {};
      expectThat(
        json.ok === false && code === "UNAUTHORIZED" && status === 4001,
        `the answer is ${show(json)}`,
      );
      await peer.waitFor("the close", () => peer.closed !== null);
      expectThat(peer.closed?.code === 4001, `it was closed with ${peer.closed?.code}`);
      return "UNAUTHORIZED, closed with 4001";
    },
  },
  refused(
    "errors.method",
    "an unknown method is NOT_FOUND (4004), kind method",
    "no.such_method",
    {},
    (error) => is(error, "NOT_FOUND", 4004, "method"),
  ),
  refused(
    "errors.unknown_field",
    "an unknown field of params is INVALID_REQUEST (4000), kind unknown_field, with its path",
    "system.info",
    { x_later: 1 },
    (error) => is(error, "INVALID_REQUEST", 4000, "unknown_field") && error.details.path === "x_later",
  ),
  refused(
    "errors.schema",
    "a field that does not fit is INVALID_REQUEST (4000), with its path",
    "chat.history",
    { session_id: "none", limit: 0 },
    (error) => is(error, "INVALID_REQUEST", 4000) && error.details?.path === "limit",
  ),
  refused(
    "errors.session",
    "a session that is not there is NOT_FOUND (4004)",
    "session.get",
    { session_id: "ses_conformance0000000000000" },
    (error) => is(error, "NOT_FOUND", 4004) && error.retryable === false,
  ),
  {
    name: "frames.unknown_fields",
    expects: "fields of a frame that nobody knows are ignored",
    async run({ peer }) {
      const { json } = await peer.ask("system.info", {}, { x_later: true });
      expectThat(json.ok === true, `it was refused: ${show(json.error)}`);
      return `system.info is answered: ${show(json.payload)}`;
    },
  },
  {
    name: "frames.bad",
    expects: "after the handshake a frame that is no request is refused, and the connection goes on",
    async run(world) {
      const peer = await world.connect();
      const from = peer.frames.length;
      peer.send("{nonsense");
      const { json } = await peer.until("a refusal", (frame: Frame) => frame.json?.type === "res", from);
      expectThat(json.ok === false && json.error?.code === "INVALID_REQUEST", `the answer is ${show(json)}`);
      await peer.request("heartbeat");
      return `${show(json.error.details)}, and a heartbeat is answered`;
    },
  },
  {
    name: "policy.told",
    expects: `policy tells ${NUMBERS.join(", ")} as whole numbers above 0`,
    async run({ hello }) {
      if (hello === null) throw new Skipped("there was no handshake");
      for (const name of NUMBERS) {
        const value = hello.policy[name];
        expectThat(Number.isInteger(value) && value > 0, `${name} is ${show(value)}`);
      }
      return NUMBERS.map((name) => `${name} ${hello.policy[name]}`).join(", ");
    },
  },
  {
    name: "policy.frame_bytes",
    expects:
      "a frame over policy.max_frame_bytes closes the connection, with 1009 where that still gets through",
    async run(world) {
      const limit = world.hello?.policy?.max_frame_bytes;
      if (!Number.isInteger(limit)) throw new Skipped("policy does not tell it");
      const peer = await world.connect();
      peer.send(
        JSON.stringify({ type: "req", id: "big", method: "heartbeat", params: {}, x: "x".repeat(limit) }),
      );
      await peer.waitFor("the close", () => peer.closed !== null);
      const code = peer.closed?.code;
      expectThat(code === 1009 || code === 1006, `it was closed with ${code}`);
      return `${limit} bytes and more: closed with ${code}`;
    },
  },
];

function is(error: Json, code: string, status: number, kind?: string): boolean {
  return (
    error.code === code && error.status === status && (kind === undefined || error.details?.kind === kind)
  );
}

function refused(
  name: string,
  expects: string,
  method: string,
  params: object,
  holds: (error: Json) => boolean,
): Check {
  return {
    name,
    expects,
    async run({ peer }) {
      const { json } = await peer.ask(method, params);
      expectThat(json.ok === false, `it was answered: ${show(json.payload)}`);
      expectThat(holds(json.error), show(json.error));
      return show(json.error);
    },
  };
}
