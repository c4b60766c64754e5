import { describe, expect, test } from "bun:test";
import { METHOD_ROUTES } from "../../src/transport/rest-routes.ts";
import { startHttp } from "./http.fixture.ts";

describe("sessions over REST", () => {
  test("create, read, change, list and delete", async () => {
    await using at = await startHttp();
    const made = await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1", title: "One" } });
    expect([made.status, made.body.session_id, made.body.title]).toEqual([201, "s1", "One"]);

    const changed = await at.ask("PATCH", "/api/v1/sessions/s1", { body: { title: "Two" } });
    expect([changed.status, changed.body.title]).toEqual([200, "Two"]);
    expect((await at.ask("GET", "/api/v1/sessions/s1")).body.title).toBe("Two");

    const listed = await at.ask("GET", "/api/v1/sessions?limit=1&archived=false");
    expect(listed.body.sessions.map((each: { session_id: string }) => each.session_id)).toEqual(["s1"]);

    expect((await at.ask("DELETE", "/api/v1/sessions/s1")).status).toBe(200);
    const gone = await at.ask("GET", "/api/v1/sessions/s1");
    expect([gone.status, gone.body.error.code]).toEqual([410, "GONE"]);
  });

  test("a message is accepted with 202 and read back", async () => {
    await using at = await startHttp();
    const sent = await at.ask("POST", "/api/v1/sessions/s1/messages", { body: { message: "hi" } });
    expect(sent.status).toBe(202);
    expect(sent.body).toMatchObject({ session_id: "s1", status: "started", subscribed: false });
    const waited = await at.ask("POST", "/api/v1/rpc/run.wait", { body: { run_id: sent.body.run_id } });
    expect(waited.body.status).toBe("completed");
    expect((await at.ask("GET", `/api/v1/runs/${sent.body.run_id}`)).body.status).toBe("completed");
    const history = await at.ask("GET", "/api/v1/sessions/s1/messages?limit=2");
    expect(history.body.messages.map((each: { content: string }) => each.content)).toEqual([
      "hi",
      "hello world",
    ]);
    expect((await at.ask("GET", "/api/v1/history/s1")).body.total).toBe(2);
  });

  test("who it is for the method: a client without a connection", async () => {
    await using at = await startHttp();
    const { body } = await at.ask("POST", "/api/v1/sessions/s1/messages", {
      body: { message: "hi" },
      headers: { "x-client-id": "laptop" },
    });
    const run = await at.ask("POST", "/api/v1/rpc/run.wait", { body: { run_id: body.run_id } });
    expect(run.body.origin).toEqual({ transport: "rest", client_id: "laptop" });
  });

  test("stop and abort end the runs of a session", async () => {
    await using at = await startHttp({
      // eslint-disable-next-line require-yield -- it never says anything
      script: async function* (_request, signal) {
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        yield { type: "aborted" };
      },
    });
    for (const path of ["/api/v1/stop/s1", "/api/v1/sessions/s1/abort"]) {
      const { run_id } = await at.send("s1");
      const stopped = await at.ask("POST", path);
      expect([stopped.status, stopped.body]).toEqual([200, { run_ids: [run_id], status: "aborted" }]);
    }
  });

  test("an idempotency key in the header is the one in the body", async () => {
    await using at = await startHttp();
    const headers = { "idempotency-key": "k1" };
    const first = await at.ask("POST", "/api/v1/sessions/s1/messages", { body: { message: "hi" }, headers });
    const again = await at.ask("POST", "/api/v1/sessions/s1/messages", {
      body: { message: "hi", idempotency_key: "k1" },
    });
    expect(again.body).toEqual(first.body);
    const other = await at.ask("POST", "/api/v1/sessions/s1/messages", { body: { message: "ho" }, headers });
    expect([other.status, other.body.error.code]).toEqual([422, "IDEMPOTENCY_MISMATCH"]);
    const both = await at.ask("POST", "/api/v1/sessions/s1/messages", {
      body: { message: "hi", idempotency_key: "k2" },
      headers,
    });
    expect([both.status, both.body.error.details.kind]).toEqual([400, "duplicate"]);
  });
});

describe("every other route", () => {
  test("answers with its status", async () => {
    await using at = await startHttp();
    const seen: Record<string, number> = {};
    for (const path of ["clients", "stats", "models"])
      seen[path] = (await at.ask("GET", `/api/v1/${path}`)).status;
    expect(seen).toEqual({ clients: 200, stats: 200, models: 200 });
    const ticket = await at.ask("POST", "/api/v1/tickets");
    expect([ticket.status, typeof ticket.body.ticket]).toEqual([201, "string"]);
    expect((await at.ask("DELETE", "/api/v1/auth_sessions/current")).body).toEqual({ revoked: true });
  });

  test("a method this gateway does not have is not found, under its route too", async () => {
    await using at = await startHttp();
    const { status, body } = await at.ask("GET", "/api/v1/tokens");
    expect([status, body.error.code, body.error.details]).toEqual([404, "NOT_FOUND", { kind: "method" }]);
  });

  test("no route without a credential", async () => {
    await using at = await startHttp();
    for (const { verb, path } of METHOD_ROUTES) {
      const { status, body } = await at.ask(verb, path.replace(":id", "x"), { token: null });
      expect([path, status, body.error.code]).toEqual([path, 401, "UNAUTHORIZED"]);
    }
    const { headers } = await at.ask("GET", "/api/v1/sessions", { token: "wrong" });
    expect(headers.get("www-authenticate")).toBe('Bearer realm="agentbus"');
  });

  test("a scope that is missing is 403, somebody else's session 404", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    expect((await at.ask("GET", "/api/v1/sessions/s1", { token: "writer" })).status).toBe(403);
    const { body } = await at.ask("GET", "/api/v1/sessions");
    expect(body.sessions).toHaveLength(1);
    expect((await at.ask("GET", "/api/v1/sessions/s1", { token: "other" })).status).toBe(404);
  });
});

describe("rpc", () => {
  test("any method, with the params as the body", async () => {
    await using at = await startHttp();
    const { status, body } = await at.ask("POST", "/api/v1/rpc/sessions.create", { body: { title: "T" } });
    expect([status, body.title]).toEqual([200, "T"]);
    expect((await at.ask("POST", "/api/v1/rpc/system.info")).body.name).toBe("agentbus");
    const none = await at.ask("POST", "/api/v1/rpc/no.such");
    expect([none.status, none.body.error.details]).toEqual([404, { kind: "method" }]);
  });

  test("what is about a socket says what to use instead", async () => {
    await using at = await startHttp();
    for (const method of [
      "connect",
      "disconnect",
      "session.subscribe",
      "sessions.subscribe",
      "session.unsubscribe",
    ]) {
      const { status, body } = await at.ask("POST", `/api/v1/rpc/${method}`, { body: { session_id: "s" } });
      expect([method, status, body.error.details]).toEqual([method, 400, { kind: "socket" }]);
    }
  });
});

describe("logging in", () => {
  const path = "/api/v1/auth_sessions";

  test("with any one credential, in the body or in the header", async () => {
    await using at = await startHttp();
    for (const body of [{ auth_token: "other" }, { session_token: "other" }]) {
      const made = await at.ask("POST", path, { token: null, body });
      expect([made.status, made.body.user, made.body.session_token]).toEqual([201, "other", "ags_1"]);
    }
    expect((await at.ask("POST", path, { token: null, body: { password: "opensesame" } })).body.user).toBe(
      "owner",
    );
    expect((await at.ask("POST", path, { token: "other" })).body.user).toBe("other");
  });

  test("not with two, none, a wrong one or an unknown field", async () => {
    await using at = await startHttp();
    const tried = [
      { token: "other", body: { password: "opensesame" } },
      { token: null, body: { auth_token: "owner", password: "opensesame" } },
      { token: null, body: {} },
      { token: null, body: { auth_token: "wrong" } },
      { token: null, body: { secret: "owner" } },
    ];
    const statuses = [];
    for (const each of tried) statuses.push((await at.ask("POST", path, each)).status);
    expect(statuses).toEqual([400, 400, 401, 401, 422]);
  });
});

describe("what is asked for", () => {
  test("the query comes in the types of the schema, and nothing unknown passes", async () => {
    await using at = await startHttp();
    const asked = {
      "?limit=2": 200,
      "?limit=two": 422,
      "?limit=1.5": 422,
      "?limit=0": 422,
      "?archived=true": 200,
      "?archived=maybe": 422,
      "?limit=2&limit=3": 400,
      "?page=2": 422,
      "?__proto__=1": 422,
    };
    const seen: Record<string, number> = {};
    for (const query of Object.keys(asked))
      seen[query] = (await at.ask("GET", `/api/v1/sessions${query}`)).status;
    expect(seen).toEqual(asked);
    const unknown = await at.ask("GET", "/api/v1/sessions?page=2");
    expect(unknown.body.error.details).toEqual({ kind: "unknown_field", path: "page" });
    expect((await at.ask("GET", "/api/v1/sessions/s1?session_id=s2")).status).toBe(422);
    expect((await at.ask("POST", "/api/v1/sessions?title=x")).status).toBe(422);
    expect((await at.ask("DELETE", "/api/v1/sessions/s1?title=x")).status).toBe(422);
  });

  test("a body is a JSON object in UTF-8, of a bounded size and depth", async () => {
    await using at = await startHttp({ limits: { message_bytes: 1_000, body_bytes: 4_000 } });
    const path = "/api/v1/sessions";
    const status = async (body: string, headers: Record<string, string> = {}): Promise<unknown[]> => {
      const answer = await at.ask("POST", path, { body, headers });
      return [answer.status, answer.body.error?.details?.kind];
    };
    expect(await status("")).toEqual([201, undefined]);
    expect(await status("{")).toEqual([400, "json"]);
    expect(await status("[]")).toEqual([400, "params"]);
    expect(await status("null")).toEqual([400, "params"]);
    expect(await status(`{"metadata":${"[".repeat(40)}${"]".repeat(40)}}`)).toEqual([400, "depth"]);
    expect(await status('{"__proto__":{"title":"x"}}')).toEqual([422, "unknown_field"]);
    expect(await status("{}", { "content-type": "text/plain" })).toEqual([415, "content_type"]);
    expect(await status("{}", { "content-type": "application/json; charset=utf-8" })).toEqual([
      201,
      undefined,
    ]);
    expect(await status("{}", { "content-encoding": "gzip" })).toEqual([415, "content_type"]);
    expect(await status(`{"title":"${"x".repeat(5_000)}"}`)).toEqual([413, "body"]);
    expect(at.counted.limits).toEqual(["json_depth", "body_bytes"]);
    const broken = await fetch(`${at.url}${path}`, {
      method: "POST",
      headers: { authorization: "Bearer owner", "content-type": "application/json" },
      body: new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
    });
    expect([broken.status, (await broken.json()).error.details.kind]).toEqual([400, "json"]);
  });

  test("a body without a length is bounded as it comes", async () => {
    await using at = await startHttp({ limits: { message_bytes: 1_000, body_bytes: 4_000 } });
    const part = new TextEncoder().encode("x".repeat(1_000));
    const response = await fetch(`${at.url}/api/v1/sessions`, {
      method: "POST",
      headers: { authorization: "Bearer owner", "content-type": "application/json" },
      body: new ReadableStream({
        async pull(controller) {
          controller.enqueue(part);
        },
      }),
    });
    expect([response.status, (await response.json()).error.code]).toEqual([413, "TOO_LARGE"]);
  });

  test("a path is percent-encoded", async () => {
    await using at = await startHttp();
    expect((await at.ask("GET", "/api/v1/sessions/%zz")).status).toBe(400);
    expect((await at.ask("GET", "/api/v1/sessions/a%20b")).status).toBe(422);
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "a:b" } });
    expect((await at.ask("GET", "/api/v1/sessions/a%3Ab/")).status).toBe(200);
  });

  test("a client id that is too long is refused", async () => {
    await using at = await startHttp();
    const headers = { "x-client-id": "x".repeat(129) };
    expect((await at.ask("GET", "/api/v1/sessions", { headers })).status).toBe(400);
  });
});
