import type { Subprocess } from "bun";
import { mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { MadeCertificate } from "./certificates.ts";
import { workplace } from "./executable.ts";

const ROOT = resolve(import.meta.dir, "../..");
const START_MS = 15_000;

/** What stands in an example and differs on every machine: the text, which has to be there, and what it becomes. */
export type Filling = Readonly<Record<string, string>>;

export interface RunningProxy extends AsyncDisposable {
  /** Everything it said so far. */
  readonly said: () => string;
}

/** An example of deploy/ as its reader would fill it in. @throws where it does not say what is to be replaced */
export function filled(example: string, filling: Filling): string {
  let text = readFileSync(join(ROOT, example), "utf8");
  for (const [from, to] of Object.entries(filling)) {
    if (!text.includes(from)) throw new Error(`${example} does not say ${JSON.stringify(from)}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/**
 * nginx with a file of conf.d, below a main one like Debian's. What the example leaves at its default times out after two
 * seconds rather than sixty.
 */
export async function startNginx(site: string, port: number): Promise<RunningProxy> {
  const place = workplace();
  mkdirSync(join(place.path, "conf.d"));
  place.file("conf.d/agentbus.conf", site);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `  ${name}_temp_path ${place.path}/${name};`,
  );
  const main = [
    ...(process.getuid?.() === 0 ? ["user root;"] : []),
    `daemon off;`,
    `pid ${place.path}/nginx.pid;`,
    `error_log stderr notice;`,
    `worker_processes 1;`,
    `events { worker_connections 512; }`,
    `http {`,
    ...temporary,
    `  access_log ${place.path}/access.log;`,
    `  default_type application/octet-stream;`,
    `  sendfile on;`,
    `  gzip on;`,
    `  gzip_types text/event-stream application/json;`,
    `  proxy_read_timeout 2s;`,
    `  proxy_send_timeout 2s;`,
    `  include ${place.path}/conf.d/*.conf;`,
    `}`,
  ];
  const file = place.file("nginx.conf", `${main.join("\n")}\n`);
  return start(["nginx", "-p", place.path, "-e", "stderr", "-c", file], port, place);
}

export async function startHaproxy(config: string, port: number): Promise<RunningProxy> {
  const place = workplace();
  const file = place.file("haproxy.cfg", config);
  return start(["haproxy", "-db", "-f", file], port, place);
}

export async function startCaddy(site: string, port: number): Promise<RunningProxy> {
  const place = workplace();
  // No certificate is asked for, no port taken but the one of the site.
  const file = place.file("Caddyfile", `{\n\tadmin off\n\tauto_https off\n}\n${site}`);
  return start(["caddy", "run", "--config", file, "--adapter", "caddyfile"], port, place);
}

async function start(
  argv: string[],
  port: number,
  place: Disposable & { readonly path: string },
): Promise<RunningProxy> {
  const child = Bun.spawn(argv, {
    cwd: place.path,
    env: { PATH: Bun.env["PATH"] ?? "", HOME: place.path },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) void read(stream, (text) => (said += text));
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
    await child.exited;
    clearTimeout(timer);
    place[Symbol.dispose]();
  };
  try {
    await answers(port, child, () => `${argv[0]}: ${said}`);
  } catch (error) {
    await stop();
    throw error;
  }
  return { said: () => said, [Symbol.asyncDispose]: stop };
}

async function read(stream: ReadableStream<Uint8Array>, each: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  for await (const bytes of stream) each(decoder.decode(bytes, { stream: true }));
}

async function answers(port: number, child: Subprocess, said: () => string): Promise<void> {
  for (const end = performance.now() + START_MS; ;) {
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: { data: () => undefined },
    }).catch(() => null);
    socket?.end();
    if (socket !== null) return;
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}; ${said()}`);
    if (performance.now() > end) throw new Error(`nobody listens on ${port}; ${said()}`);
    await Bun.sleep(20);
  }
}

/** What stands in every nginx example: the name, the addresses and the certificate. */
export function nginxFilling(port: number, { cert_file, key_file }: MadeCertificate): Filling {
  return {
    "/etc/letsencrypt/live/agent.example.com/fullchain.pem": cert_file,
    "/etc/letsencrypt/live/agent.example.com/privkey.pem": key_file,
    "agent.example.com": "localhost",
    "listen 443 ssl": `listen 127.0.0.1:${port} ssl`,
    "listen [::]:443 ssl http2;": "",
  };
}
