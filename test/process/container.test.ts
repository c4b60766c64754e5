import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { load } from "js-yaml";
import { addressMatcher } from "../../src/auth/address.ts";
import { AGENTBUS, agentbus, workplace } from "../support/executable.ts";
import { buildImage, canBuild } from "../support/image.ts";
import type { BuiltImage, MadeContainer } from "../support/image.ts";

const FOLDER = resolve(import.meta.dir, "../../deploy/container");
const CAN_BUILD = canBuild();
/** A Debian may have to be made first. */
const MAKE_MS = 400_000;
const LONG_MS = 60_000;
const OWNER = 10_001;
const TOKEN = "agb_a-token-that-was-chosen-for-the-container-000000";
const CONFIGURES = { AGENTBUS_SERVER_PORT: "0" };

interface Service {
  readonly build: { readonly context: string; readonly dockerfile: string };
  readonly ports: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
}

test("the file for compose builds the Dockerfile, and configures what there is to configure", async () => {
  using place = workplace();
  const { services } = load(readFileSync(join(FOLDER, "compose.yaml"), "utf8")) as {
    services: { agentbus: Service };
  };
  const { build, ports, environment, volumes } = services.agentbus;
  const context = resolve(FOLDER, build.context);
  expect([context, resolve(context, build.dockerfile)]).toEqual([
    resolve(FOLDER, "../../dist"),
    join(FOLDER, "Dockerfile"),
  ]);
  expect([ports, volumes]).toEqual([["127.0.0.1:18789:18789"], ["data:/data"]]);
  const file = place.file("token", TOKEN);
  const env = { ...environment, OPENAI_API_KEY: "", AGENTBUS_AUTH_TOKEN_FILE: file };
  expect(environment["AGENTBUS_AUTH_TOKEN_FILE"]).toBe("/run/secrets/agentbus_token");
  const { code, err } = await agentbus(["config", "check"], { cwd: place.path, env });
  expect({ code, err }).toEqual({ code: 0, err: "" });
});

test("what is said there for a proxy can be taken as it is: one address of the network beside it", async () => {
  using place = workplace();
  const text = readFileSync(join(FOLDER, "compose.yaml"), "utf8");
  const options = text.replaceAll(/^( *)# (?=AGENTBUS_)/gm, "$1");
  const network = options.replace(/^# networks:\n(?:# {3}.*\n)+/m, (lines) => lines.replaceAll(/^# /gm, ""));
  const { services, networks } = load(network) as {
    services: { agentbus: Service };
    networks: { default: { ipam: { config: readonly { subnet: string; gateway: string }[] } } };
  };
  const { environment } = services.agentbus;
  const [{ subnet, gateway } = { subnet: "", gateway: "" }] = networks.default.ipam.config;
  const proxy = environment["AGENTBUS_SERVER_TRUSTED_PROXIES"] ?? "";
  expect([proxy, addressMatcher([subnet], "subnet")(proxy)]).toEqual([gateway, true]);
  const env = { ...environment, OPENAI_API_KEY: "", AGENTBUS_AUTH_TOKEN_FILE: place.file("token", TOKEN) };
  const { code, err } = await agentbus(["config", "check"], { cwd: place.path, env });
  expect({ code, err }).toEqual({ code: 0, err: "" });
});

// Not skipped where it cannot be: what is skipped fails in CI, and canBuild() has said whether that is known.
if (CAN_BUILD) {
  describe("the image", () => {
    let image: BuiltImage;
    const place = workplace();
    const data = join(place.path, "data");
    beforeAll(async () => {
      const [program = ""] = AGENTBUS;
      image = await buildImage(program);
      mkdirSync(data);
      chmodSync(place.path, 0o755);
      chmodSync(data, 0o700);
      chownSync(data, OWNER, OWNER);
    }, MAKE_MS);
    afterAll(() => {
      image?.[Symbol.dispose]();
      place[Symbol.dispose]();
    }, LONG_MS);

    /** The gateway as the image starts it, on any port. */
    async function serve(container: MadeContainer, env: Record<string, string>, mounts = {}) {
      const { Entrypoint, Cmd } = image.config;
      const options = { env: { ...CONFIGURES, ...env }, mounts: { [data]: "/data", ...mounts } };
      const child = container.start([...Entrypoint, ...Cmd], options);
      const { url, pid } = await listening(child.stdout).catch(async (error: Error) => {
        throw new Error(`${error.message}: ${await new Response(child.stderr).text()}`);
      });
      return { url, pid, options, exited: child.exited };
    }

    async function call(url: string, method: string, params: object): Promise<unknown> {
      const response = await fetch(`${url}/api/v1/rpc/${method}`, {
        method: "POST",
        headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" },
        body: JSON.stringify(params),
      });
      return response.json();
    }

    test("belongs to a user without rights, and says how it is run", () => {
      const { config } = image;
      expect(config).toMatchObject({
        User: "10001:10001",
        ExposedPorts: { "18789/tcp": {} },
        Volumes: { "/data": {} },
        WorkingDir: "/data",
        StopSignal: "SIGTERM",
        Healthcheck: { Test: ["CMD", "agentbus", "status", "--alive"] },
      });
      expect(config.Env).toEqual(
        expect.arrayContaining(["AGENTBUS_SERVER_HOST=0.0.0.0", "AGENTBUS_SERVER_DATA_DIR=/data"]),
      );
    });

    test(
      "answers as that user, is healthy by its own check, and keeps its data for the next container",
      async () => {
        const first = await image.container();
        const check = image.config.Healthcheck.Test.slice(1);
        const one = await serve(first, { AGENTBUS_AUTH_TOKEN: TOKEN });
        expect((await fetch(`${one.url}/health`)).status).toBe(200);
        const status = readFileSync(`/proc/${one.pid}/status`, "utf8");
        expect(status).toMatch(/^Uid:\s+10001\s+10001\s+10001\s+10001$/m);
        expect(status).toMatch(/^CapEff:\s+0+$/m);
        const answer = await first.run(check, one.options);
        expect([answer.code, answer.out]).toEqual([0, expect.stringMatching(/^http:\S+ answers\n$/)]);
        await call(one.url, "session.create", { session_id: "kept" });
        process.kill(one.pid, "SIGTERM");
        expect(await one.exited).toBe(0);
        expect((await first.run(check, one.options)).code).not.toBe(0);

        // As compose has it: the token in a file, in another container.
        const secret = place.file("token", `${TOKEN}\n`);
        chownSync(secret, OWNER, OWNER);
        chmodSync(secret, 0o400);
        const second = await image.container();
        const env = { AGENTBUS_AUTH_TOKEN_FILE: "/run/secrets/agentbus_token" };
        const two = await serve(second, env, { [secret]: "/run/secrets/agentbus_token:ro" });
        expect(await call(two.url, "session.list", {})).toMatchObject({ sessions: [{ session_id: "kept" }] });
        expect((await second.run(check, two.options)).code).toBe(0);
        process.kill(two.pid, "SIGTERM");
        expect(await two.exited).toBe(0);
        expect(existsSync(join(data, "agentbus.db"))).toBe(true);
      },
      MAKE_MS,
    );
  });
}

/** Its process is seen from here, too: a chroot is all that is around it. */
async function listening(stdout: ReadableStream<Uint8Array>): Promise<{ url: string; pid: number }> {
  const decoder = new TextDecoder();
  let said = "";
  for await (const bytes of stdout) {
    said += decoder.decode(bytes, { stream: true });
    const line = said.split("\n").find((each) => each.endsWith('"msg":"listening"}'));
    if (line !== undefined) return JSON.parse(line) as { url: string; pid: number };
  }
  throw new Error(`it ended: ${said}`);
}
