import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "../gateway/stack.ts";
import { freePort } from "../support/free-port.ts";
import { script } from "../support/model-script.ts";
import { needs } from "../support/needs.ts";
import { hasPostgres, testCluster } from "../support/postgres.ts";
import { startNginx } from "../support/proxies.ts";
import type { Watcher } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import { sayUntilAnswered } from "./commands.ts";
import { LEASE_SECS, startNodes } from "./nodes.ts";
import { expectTruth, readTruth, settled, timesSaid } from "./truth.ts";

setDefaultTimeout(600_000);

const hasNginx = needs("nginx", "nginx");
/** With AGENTBUS_LONG=1 the series is gone through again and again. */
const ROUNDS = Bun.env["AGENTBUS_LONG"] === "1" ? 10 : 1;
const CLIENTS = 200;
const SESSIONS = ["one", "two", "three", "four"];

function site(port: number, nodes: readonly number[]): string {
  return `map $http_upgrade $upgraded { default upgrade; "" ""; }
upstream nodes {
${nodes.map((node) => `  server 127.0.0.1:${node} max_fails=1 fail_timeout=1s;`).join("\n")}
}
server {
  listen 127.0.0.1:${port};
  gzip off;
  location / {
    proxy_pass http://nodes;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $upgraded;
    proxy_set_header Host $http_host;
    proxy_connect_timeout 2s;
    proxy_read_timeout 1h;
    proxy_buffering off;
    proxy_next_upstream error timeout http_503;
  }
}
`;
}

describe.skipIf(!hasPostgres || !hasNginx)("clients behind a proxy of three nodes", () => {
  test("get the log, whole, while nodes are killed, drained and paused and the database is started again", async () => {
    const port = await freePort();
    const ports = [await freePort(), await freePort(), await freePort()];
    await using _proxy = await startNginx(site(port, ports), port);
    await using nodes = await startNodes({
      count: 3,
      config: { server: { shutdown_grace_secs: 3, public_url: `http://127.0.0.1:${port}` } },
      envOf: (at) => ({ AGENTBUS_SERVER_PORT: String(ports[at]) }),
    });
    const [a, b, c] = [nodes.node(0), nodes.node(1), nodes.node(2)];
    nodes.model.otherwise(() => script().tokens(40, { everyMs: 20 }));
    const people = nodes.all.map((node) => node.person(a.token));
    let isOver = false;
    let acknowledged = 0;
    const said = new Map<string, string[]>(SESSIONS.map((session_id) => [session_id, []]));
    for (const session_id of SESSIONS) await sayUntilAnswered(people, session_id, `hello ${session_id}`);
    await using stack = new AsyncDisposableStack();
    const watchers = Array.from({ length: CLIENTS }, (_, at): Watcher => {
      const over = at % 2 === 0 ? "ws" : "sse";
      return stack.use(
        startWatcher({
          name: `client ${at} over ${over}`,
          session_id: SESSIONS[(at >> 1) % SESSIONS.length] ?? "",
          token: a.token,
          route: () => `http://127.0.0.1:${port}`,
          transport: () => over,
          stall_ms: 5_000,
        }),
      );
    });
    const talking = Promise.all(
      SESSIONS.map(async (session_id, at) => {
        for (let n = 0; !isOver; n++) {
          const content = `message ${n} in ${session_id}`;
          const turn = (at + n) % people.length;
          await sayUntilAnswered([...people.slice(turn), ...people.slice(0, turn)], session_id, content);
          said.get(session_id)?.push(content);
          acknowledged++;
          await Bun.sleep(250);
        }
      }),
    );
    talking.catch(() => undefined);
    const goesOn = async (): Promise<void> => {
      const before = acknowledged;
      await eventually(
        () => acknowledged,
        (count) => count >= before + SESSIONS.length,
        90_000,
      );
    };
    await Promise.all(watchers.map((watcher) => watcher.until(() => watcher.synced, 60_000)));
    for (let round = 0; round < ROUNDS; round++) {
      await goesOn();
      await a.kill();
      await goesOn();
      await a.restart();
      expect(await b.stop()).toBe(0);
      await goesOn();
      await b.restart();
      c.pause();
      await Bun.sleep((LEASE_SECS + 1) * 1_000);
      await goesOn();
      c.resume();
      const server = await testCluster();
      await server.stop("immediate");
      await server.start();
      await goesOn();
    }
    isOver = true;
    await talking;
    await settled(nodes.sql);
    for (const [at, session_id] of SESSIONS.entries()) {
      const truth = await readTruth(nodes.sql, session_id);
      const wrong = (said.get(session_id) ?? []).filter((content) => timesSaid(truth, content) !== 1);
      expect({ session_id, wrong }).toEqual({ session_id, wrong: [] });
      const mine = watchers.filter((_, n) => (n >> 1) % SESSIONS.length === at);
      expect(mine).toHaveLength(CLIENTS / SESSIONS.length);
      await Promise.all(mine.map((watcher) => expectTruth(truth, watcher, 60_000)));
    }
  });
});
