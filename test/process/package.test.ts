import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join, resolve } from "node:path";
import { brotliCompressSync } from "node:zlib";
import manifest from "../../package.json" with { type: "json" };
import { buildClient } from "../../scripts/pack-client.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";
import type { Project } from "../support/package.ts";
import { installPackage } from "../support/package.ts";

/** The compiler and whole programs, on a machine that has much else to do. */
const SLOW_MS = 180_000;
setDefaultTimeout(SLOW_MS);

let project: Project;
beforeAll(async () => {
  project = await installPackage();
}, SLOW_MS);
afterAll(() => project?.[Symbol.asyncDispose]());

/** How programs that install the package are compiled. */
const COMPILED: Record<string, Record<string, unknown>> = {
  "for a page": { module: "Preserve", lib: ["ESNext", "DOM", "DOM.Iterable"], types: [] },
  "for Bun": { module: "Preserve", lib: ["ESNext"], types: ["bun-types"] },
  "for Node": { module: "NodeNext", lib: ["ES2023"], types: ["node"] },
  "as strictly as it goes": {
    module: "NodeNext",
    lib: ["ES2022", "DOM"],
    types: [],
    exactOptionalPropertyTypes: true,
    isolatedModules: true,
    noPropertyAccessFromIndexSignature: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: true,
  },
};

const TALK = `import { ClientError, createClient, createTranscript, deviceOf } from "agentbus/client";
import type { ClientOptions, EventFrame, Hello } from "agentbus/client";

const { URL_OF_GATEWAY = "", TOKEN = "" } = (globalThis as any).process.env;
const options: ClientOptions = { url: URL_OF_GATEWAY, auth_token: TOKEN };
const client = createClient(options);
const hello: Hello = await client.connect();
client.on("*", (frame: EventFrame) => void frame);
const { run_id } = await client.request("chat.send", { session_id: "packed", message: "hi" });
const run = await client.request("run.wait", { run_id });
const status: string = run.status;
const error = await client.request("session.get", { session_id: "nobody" }).catch((refused: unknown) => refused);
if (!(error instanceof ClientError)) throw new Error("it was not refused");
client.disconnect();
console.log([hello.server_info.name, status, error.code, typeof createTranscript, typeof deviceOf].join());
`;

describe("agentbus/client", () => {
  for (const [name, options] of Object.entries(COMPILED)) {
    test(`compiles ${name}`, async () => {
      await project.write("talk.ts", TALK);
      expect(await project.check(["talk.ts"], options)).toBe("");
    });
  }

  test("has types that find a slip", async () => {
    await project.write("slip.ts", TALK.replace("run.status", "run.state"));
    const [options = {}] = Object.values(COMPILED);
    expect(await project.check(["slip.ts"], options)).toContain("Property 'state' does not exist");
  });

  test("is one file of JavaScript, and loads others only where they are needed", async () => {
    const imports = async (name: string) => {
      const file = Bun.file(`${project.directory}/node_modules/agentbus/lib/package/${name}`);
      const found = new Bun.Transpiler({ loader: "js" }).scan(await file.text()).imports;
      return [...new Set(found.map(({ kind, path }) => `${kind} ${path}`))].sort();
    };
    expect(await imports("client.js")).toEqual([
      "dynamic-import ./client-device.js",
      "dynamic-import ./client-http.js",
      "dynamic-import ./client-outbox.js",
    ]);
    for (const part of ["http", "device", "outbox"]) expect(await imports(`client-${part}.js`)).toEqual([]);
  });

  test("weighs at most 10 KiB, minified and compressed", async () => {
    const [client] = await buildClient(resolve(import.meta.dir, "../.."), true);
    expect(brotliCompressSync(client?.text ?? "").length).toBeWithin(5_000, 10_241);
  });

  const OVER_HTTP = `import { createClient, deviceOf } from "agentbus/client";
const { URL_OF_GATEWAY: url, TOKEN: auth_token } = process.env;
const client = createClient({ url, auth_token, transport: "sse" });
await client.connect();
const session = client.session("over-http");
const { attachment_id } = await client.upload("some text", { name: "some.txt" });
const sent = await session.send("/long 3", { attachments: [attachment_id] });
await session.state.until(({ runs }) => runs.some(({ run_id, status }) => run_id === sent.run_id && status === "completed"));
const back = await (await client.download(session.session_id, attachment_id)).text();
const keys = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
const { device_id } = await deviceOf(keys);
console.log([back, session.state.getSnapshot().messages.at(-1).content, device_id.length].join());
client.disconnect();
`;
  for (const [name, command, has] of [
    ["Bun", process.execPath, true],
    ["Node", "node", needs("node", "nodejs")],
  ] as const) {
    test.skipIf(!has)(`goes over HTTP, takes files and signs in ${name}`, async () => {
      await using gateway = await startGateway({ binary: project.command });
      const file = await project.write("over-http.mjs", OVER_HTTP);
      const env = { URL_OF_GATEWAY: gateway.url, TOKEN: gateway.token };
      const { out, err } = await project.run([command, file], env);
      expect(`${out}${err}`).toBe("some text,1 2 3,64\n");
    });
  }

  test.skipIf(!needs("node", "nodejs"))("says what is missing where only one file was taken", async () => {
    const whole = Bun.file(`${project.directory}/node_modules/agentbus/lib/package/client.js`);
    await project.write("alone/client.mjs", await whole.text());
    const program = `import { createClient } from "./client.mjs";
const client = createClient({ url: "http://127.0.0.1:1", auth_token: "t", transport: "sse" });
await client.connect().catch((error) => console.log(error.code, error.message));
`;
    const { out } = await project.run(["node", await project.write("alone/alone.mjs", program)]);
    expect(out).toContain("UNREACHABLE");
    expect(out).toContain("client-http.js");
  });

  test("talks to the gateway that the package brings as a command", async () => {
    await using gateway = await startGateway({ binary: project.command });
    const file = await project.write("talk.ts", TALK);
    const env = { URL_OF_GATEWAY: gateway.url, TOKEN: gateway.token };
    const { out, err } = await project.run([process.execPath, file], env);
    expect(`${out}${err}`).toBe("agentbus,completed,NOT_FOUND,function,function\n");
  });

  test.skipIf(!needs("node", "nodejs"))("is loaded by Node", async () => {
    const file = await project.write(
      "load.js",
      'console.log(Object.keys(await import("agentbus/client")).sort().join());\n',
    );
    const { out, err } = await project.run(["node", file]);
    expect(`${out}${err}`).toBe(
      "AbortedError,ClientError,ConnectionError,GatewayError,TimeoutError,createClient,createTranscript,deviceOf\n",
    );
  });
});

describe("a plug-in", () => {
  const EXAMPLES = resolve(import.meta.dir, "../../examples/plugins");
  const OSLO = { place: "Oslo, Norway", temperature_c: 7.5, wind_kmh: 12 };
  const USE = `import { createGateway } from "agentbus";
const [data_dir = "", ...names] = process.argv.slice(2);
const gateway = createGateway({ server: { port: 0, data_dir }, log: { level: "error" }, llm: { default_provider: "demo" } });
const { url, token } = await gateway.start();
for (const name of names) await gateway.use((await import(\`./\${name}.ts\`)).default);
const headers = { authorization: \`Bearer \${token?.value}\`, "content-type": "application/json" };
const call = async (method: string, params: object) =>
  (await fetch(\`\${url}/api/v1/rpc/\${method}\`, { method: "POST", headers, body: JSON.stringify(params) })).json();
const { plugins } = await call("plugin.list", {});
const { tools } = await call("tool.list", {});
const { paths } = await (await fetch(\`\${url}/docs/json\`, { headers })).json();
console.log(JSON.stringify({
  plugins: plugins.map((each: any) => [each.name, each.state]),
  tools: tools.map((each: any) => each.name),
  documented: "/api/v1/rpc/weather.get" in paths,
  method: await call("weather.get", { city: "Oslo" }),
  route: await (await fetch(\`\${url}/plugins/weather/Oslo\`, { headers })).json(),
}));
await gateway.stop();
`;
  function weather() {
    return Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request) =>
        Response.json(
          new URL(request.url).pathname === "/v1/forecast"
            ? { current: { temperature_2m: 7.5, wind_speed_10m: 12 } }
            : { results: [{ name: "Oslo", country: "Norway", latitude: 59.9, longitude: 10.7 }] },
        ),
    });
  }
  const NAMES = ["redact", "weather", "webhook"];

  test("of the examples has types that hold, and works in a program as it does in a folder", async () => {
    for (const name of NAMES)
      await project.write(`${name}.ts`, await Bun.file(join(EXAMPLES, `${name}.ts`)).text());
    expect(
      await project.check(
        NAMES.map((name) => `${name}.ts`),
        COMPILED["for Bun"] ?? {},
      ),
    ).toBe("");
    using upstream = weather();
    const url = `http://127.0.0.1:${upstream.port}`;
    const program = await project.write("use.ts", USE);
    const env = { WEATHER_URL: url, GEOCODING_URL: url };
    const { out, err } = await project.run([process.execPath, program, "used", ...NAMES], env);
    expect(err).toBe("");
    expect(JSON.parse(out)).toEqual({
      plugins: NAMES.map((name) => [name, "ready"]),
      tools: expect.arrayContaining(["weather"]),
      documented: true,
      method: OSLO,
      route: OSLO,
    });
  });

  const APART = `import { definePlugin } from "agentbus/plugin";
export default definePlugin({
  name: "apart",
  isolate: true,
  routes: { "GET /": { open: true, doc: "Where it runs.", run: () => ({ main: Bun.isMainThread }) } },
});
`;

  test("in a folder is loaded by the command, and in a thread of its own where it asks for one", async () => {
    using upstream = weather();
    const url = `http://127.0.0.1:${upstream.port}`;
    await project.write("apart/apart.ts", APART);
    const directories = `${EXAMPLES},${join(project.directory, "apart")}`;
    const env = { WEATHER_URL: url, GEOCODING_URL: url, AGENTBUS_PLUGINS_DIRECTORIES: directories };
    await using gateway = await startGateway({ binary: project.command, env });
    const headers = { authorization: `Bearer ${gateway.token}` };
    const route = await fetch(`${gateway.url}/plugins/weather/Oslo`, { headers });
    expect([route.status, await route.json()]).toEqual([200, OSLO]);
    const apart = await fetch(`${gateway.url}/plugins/apart`);
    expect([apart.status, await apart.json()]).toEqual([200, { main: false }]);
  });
});

describe("the command of the package", () => {
  test("is the same version", async () => {
    const { out } = await project.run([project.command, "version"]);
    expect(out).toBe(`agentbus ${manifest.version}\n`);
  });

  test("serves its pages from beside itself", async () => {
    await using gateway = await startGateway({ binary: project.command });
    for (const path of [
      "/docs",
      "/docs/json",
      "/docs/swagger-ui.js",
      "/docs/swagger-ui.css",
      "/docs/icon.png",
      "/",
    ]) {
      const response = await fetch(`${gateway.url}${path}`);
      const { byteLength } = await response.arrayBuffer();
      expect([path, response.status, byteLength > 500]).toEqual([path, 200, true]);
    }
    const page = await (await fetch(gateway.url)).text();
    const assets = [...page.matchAll(/\/assets\/[^"]+/g)].map(([path]) => path);
    expect(assets.length).toBeGreaterThan(1);
    for (const path of assets)
      expect([path, (await fetch(`${gateway.url}${path}`)).status]).toEqual([path, 200]);
  });
});

test("the package names whose work is in it", async () => {
  const text = await Bun.file(`${project.directory}/node_modules/agentbus/THIRD-PARTY-LICENSES`).text();
  expect(text).toContain(`elysia ${manifest.dependencies.elysia}: MIT\n\nCopyright 20`);
  for (const each of text.split(`\n${"-".repeat(80)}\n\n`)) {
    expect(each).toMatch(/^\S+ \d+\.\d+\.\d+\S*: (?:MIT|ISC|0BSD|BSD-[23]-Clause|Apache-2\.0)\n/);
  }
});
