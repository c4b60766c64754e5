import { expectThat, Skipped } from "./conformance-check.ts";
import type { Check } from "./conformance-check.ts";
import { logOf } from "./conformance-log.ts";

/** REST: the same methods, with the errors' own status. */
export const restChecks: readonly Check[] = [
  {
    name: "rest.health",
    expects: "GET /health answers 200 without a credential",
    async run(world) {
      const response = await world.fetch("/health", { token: null });
      const { status } = (await response.json()) as { status?: string };
      expectThat(response.status === 200 && status === "healthy", `${response.status}, ${status}`);
      return `200, ${status}`;
    },
  },
  {
    name: "rest.unauthorized",
    expects: "without a credential, and with a wrong one, 401 UNAUTHORIZED",
    async run(world) {
      if (world.hello?.auth_info?.method === "none") throw new Skipped("this server takes everybody in");
      const seen = [];
      for (const token of [null, `agb_${"x".repeat(43)}`])
        seen.push(await errorOf(world.fetch("/api/v1/sessions", { token })));
      expectThat(
        seen.every((each) => each === "401 UNAUTHORIZED"),
        seen.join(", "),
      );
      return seen.join(", ");
    },
  },
  {
    name: "rest.errors",
    expects: "404 NOT_FOUND for a session that is not there, 400 INVALID_REQUEST for a body that is not JSON",
    async run(world) {
      const missing = await errorOf(world.fetch("/api/v1/sessions/ses_conformance0000000000000"));
      expectThat(missing === "404 NOT_FOUND", missing);
      const bad = await errorOf(
        world.fetch("/api/v1/rpc/system.info", { method: "POST", body: "{nonsense" }),
      );
      expectThat(bad === "400 INVALID_REQUEST", bad);
      return `${missing}, ${bad}`;
    },
  },
  {
    name: "rest.same",
    expects: "a session and its history over REST are what the socket is told",
    async run(world) {
      const { session_id } = logOf(world);
      const path = `/api/v1/sessions/${session_id}`;
      for (const [method, rest] of [
        ["session.get", path],
        ["chat.history", `${path}/messages`],
      ] as const) {
        const told = await world.peer.request(method, { session_id });
        const answered = await (await world.fetch(rest)).json();
        const same = JSON.stringify(told) === JSON.stringify(answered);
        expectThat(same, `${rest} answers ${JSON.stringify(answered).slice(0, 200)}`);
      }
      return "session.get, chat.history";
    },
  },
];

async function errorOf(request: Promise<Response>): Promise<string> {
  const response = await request;
  const body = (await response.json()) as { error?: { code?: string } };
  return `${response.status} ${body.error?.code}`;
}
