import type { Socket } from "bun";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** How a machine of a tailnet is told of: whose it is, and its tags where it is nobody's. */
export interface Machine {
  readonly login: string;
  readonly tags?: readonly string[];
  /** Its key has expired. */
  readonly expired?: boolean;
}

/**
 * What a LocalAPI that is none does instead of answering: says nothing, says this text and ends, says HTTP that is no
 * HTTP's, or never stops.
 */
export type Misbehaviour =
  | "silent"
  | "endless"
  | { readonly raw: string }
  | { readonly body: string; readonly status?: number };

/** The LocalAPI of tailscaled, on a unix socket, as far as it says who a peer is. */
export interface TestTailscaled extends AsyncDisposable {
  readonly socket: string;
  /** By IP address; changed while it runs. */
  readonly machines: Map<string, Machine>;
  /** Values of `addr` it was asked about, oldest first. */
  readonly asked: string[];
  /** How many questions were open at once, at most. */
  readonly most: number;
  misbehave(how: Misbehaviour | null): Promise<void>;
  /** Goes away, its socket too. */
  stop(): Promise<void>;
  /** Comes back on the same socket. */
  start(): void;
}

/** As tailscaled answers: indented with tabs, fields of the machine and its user that nobody here reads among them. */
function answerOf(ip: string, { login, tags, expired }: Machine): string {
  const id = 4_503_599_627_370_496 + ip.length;
  const answer = {
    Node: {
      ID: id,
      StableID: "nTestStable1CNTRL",
      Name: "machine.tail1234.ts.net.",
      User: 131_792_011_117_475,
      Key: "nodekey:5c8f86d5fc70d924e55f02446165a5dae8f822994ad26bcf4b08fd841f9bf261",
      KeyExpiry: "2030-01-01T00:00:00Z",
      DiscoKey: "discokey:0000000000000000000000000000000000000000000000000000000000000000",
      Addresses: [`${ip}/${ip.includes(":") ? 128 : 32}`],
      AllowedIPs: [`${ip}/${ip.includes(":") ? 128 : 32}`],
      Hostinfo: { OS: "linux", Hostname: "machine", Services: [{ Proto: "peerapi4", Port: 1 }] },
      Created: "2025-01-01T00:00:00Z",
      ...(tags !== undefined && { Tags: tags }),
      ...(expired === true && { Expired: true }),
      Online: true,
      ComputedName: "machine",
      ComputedNameWithHost: "machine",
    },
    UserProfile: {
      ID: 131_792_011_117_475,
      LoginName: login,
      DisplayName: tags === undefined ? "Somebody" : "Tagged Devices",
      ProfilePicURL: "",
    },
    CapMap: null,
  };
  return JSON.stringify(answer, null, "\t");
}

export async function startTailscaled(machines: Record<string, Machine> = {}): Promise<TestTailscaled> {
  const home = await mkdtemp(join(tmpdir(), "agentbus-ts-"));
  const socket = join(home, "tailscaled.sock");
  const all = new Map(Object.entries(machines));
  const asked: string[] = [];
  const state = { open: 0, most: 0 };
  let stop: () => Promise<void> = async () => undefined;

  function serve(): void {
    const server = Bun.serve({
      unix: socket,
      async fetch(request) {
        state.most = Math.max(state.most, ++state.open);
        try {
          return await answer(request, all, asked);
        } finally {
          state.open--;
        }
      },
    });
    stop = () => server.stop(true);
  }

  function misbehave(how: Misbehaviour): void {
    /** What a peer has not taken yet. */
    const left = new Map<Socket, Buffer>();
    const say = (peer: Socket, bytes: Buffer): void => {
      if (how === "silent" || !left.has(peer)) return;
      const rest = bytes.subarray(peer.write(bytes));
      left.set(peer, rest);
      if (how === "endless") setImmediate(() => say(peer, Buffer.concat([rest, PIECE])));
      else if (rest.length === 0) peer.end();
    };
    const server = Bun.listen({
      unix: socket,
      socket: {
        open(peer) {
          left.set(peer, Buffer.alloc(0));
          state.most = Math.max(state.most, ++state.open);
        },
        close: (peer) => {
          state.open--;
          left.delete(peer);
        },
        data: (peer) => say(peer, Buffer.from(textOf(how), "latin1")),
        drain: (peer) => say(peer, left.get(peer) ?? Buffer.alloc(0)),
      },
    });
    stop = async () => server.stop(true);
  }

  async function restart(how: Misbehaviour | null): Promise<void> {
    await stop();
    await rm(socket, { force: true });
    if (how === null) serve();
    else misbehave(how);
  }

  serve();
  return {
    socket,
    machines: all,
    asked,
    get most() {
      return state.most;
    },
    misbehave: (how) => restart(how),
    async stop() {
      await stop();
      await rm(socket, { force: true });
    },
    start: () => serve(),
    async [Symbol.asyncDispose]() {
      await stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function answer(request: Request, machines: Map<string, Machine>, asked: string[]): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  const { headers } = request;
  // Web pages cannot be kept from sending requests, so it refuses what might come from one.
  if (headers.get("host") !== "local-tailscaled.sock" || headers.has("origin") || headers.has("referer")) {
    return plain(403, "invalid localapi request");
  }
  if (pathname !== "/localapi/v0/whois") return plain(404, "404 page not found");
  const addr = searchParams.get("addr") ?? "";
  asked.push(addr);
  // So that questions at once are seen to be so.
  await Bun.sleep(1);
  const [, six, four] = /^(?:\[([0-9a-f:]+)\]|([0-9.]+)):\d{1,5}$/.exec(addr) ?? [];
  const ip = six ?? four;
  if (ip === undefined)
    return plain(400, addr === "" ? "missing 'addr' parameter" : "invalid 'addr' parameter");
  const machine = machines.get(ip);
  if (machine === undefined) return plain(404, "no match for IP:port");
  return new Response(answerOf(ip, machine), {
    headers: {
      "content-type": "application/json",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
      "tailscale-cap": "106",
      "tailscale-version": "1.78.1",
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
    },
  });
}

function plain(status: number, text: string): Response {
  const headers = { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" };
  return new Response(`${text}\n`, { status, headers });
}

const PIECE = Buffer.alloc(65_536, " ");

/** Characters are bytes. */
function textOf(how: Misbehaviour): string {
  if (how === "silent" || how === "endless")
    return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
  if ("raw" in how) return how.raw;
  return `HTTP/1.1 ${how.status ?? 200} X\r\nContent-Length: ${how.body.length}\r\n\r\n${how.body}`;
}
