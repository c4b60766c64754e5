import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { startGateway } from "../support/gateway-process.ts";
import { until } from "../support/serve-sockets.ts";
import { openSocket } from "../support/ws-client.ts";

const PEERS = 60;
/** Twelve seconds are what the runtime gives a handshake; what is waited for in addition is a busy machine's. */
const CLOSED_MS = 40_000;
/** The head of a record that never comes whole. */
const HALF_A_HELLO = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc]);

test.skipIf(process.platform !== "linux")(
  "who opens a connection and never finishes its TLS handshake is not kept, and keeps nobody out",
  async () => {
    await using gateway = await startGateway({ config: { server: { tls: { mode: "auto" } } } });
    const ca = readFileSync(join(gateway.data_dir, "tls", "cert.pem"), "utf8");
    const files = (): number => readdirSync(`/proc/${gateway.pid}/fd`).length;
    const headers = { authorization: `Bearer ${gateway.token}` };
    await using healthy = await openSocket(gateway.ws_url, { headers, tls: { ca } });
    await healthy.request("heartbeat");
    const before = files();

    let open = 0;
    const port = Number(new URL(gateway.url).port);
    const peers = Array.from({ length: PEERS }, (_each, index) => {
      const peer = connect(port, "127.0.0.1", () => {
        open++;
        if (index % 2 === 0) peer.write(HALF_A_HELLO);
      });
      peer.on("error", () => undefined);
      peer.on("close", () => open--);
      return peer.resume();
    });
    await until(() => open === PEERS && files() >= before + PEERS);
    for (const end = performance.now() + CLOSED_MS; open > 0;) {
      expect(performance.now()).toBeLessThan(end);
      // Meanwhile everybody else is answered, on a connection that is there and on new ones.
      await healthy.request("heartbeat");
      const { status } = await fetch(`${gateway.url}/health`, { tls: { ca }, keepalive: false });
      expect(status).toBe(200);
      await Bun.sleep(100);
    }
    await until(() => files() <= before + 1);
    for (const peer of peers) peer.destroy();
  },
  90_000,
);
