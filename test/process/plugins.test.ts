import { expect, setDefaultTimeout, test } from "bun:test";
import { chmod, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { sayer } from "../adapter/plugin.fixture.ts";
import { eventually } from "../gateway/stack.ts";
import { agentbus, serve, workplace } from "../support/executable.ts";

setDefaultTimeout(60_000);

/** A folder beside the executable, as somebody tries it. */

const FLAGS = ["--data-dir", "data"];
const TOML = '[server]\nport = 0\n[plugins]\ndirectories = ["plugins"]\n';

async function doctor(cwd: string): Promise<unknown[]> {
  const { out } = await agentbus(["doctor", "--json", ...FLAGS], { cwd });
  const { findings } = JSON.parse(out) as { findings: { readonly check: string }[] };
  return findings.filter(({ check }) => check === "plug-ins");
}

test("the first example of the docs: a method, a tool and a route; the doctor and the status tell of it", async () => {
  using place = workplace();
  place.file("agentbus.toml", TOML);
  const docs = await readFile(resolve(import.meta.dir, "../../docs/plugins.md"), "utf8");
  const [, text = ""] = /```ts\n(import.*?)```/s.exec(docs) ?? [];
  const example = resolve(import.meta.dir, "../../examples/plugins/dice.ts");
  expect(await readFile(example, "utf8")).toBe(text);
  place.file("plugins/dice.ts", text);
  const source = join(place.path, "plugins/dice.ts");
  expect(await doctor(place.path)).toEqual([
    { check: "plug-ins", state: "ok", finding: `${source}: loaded by a gateway that runs` },
  ]);
  await using gateway = await serve(place.path, FLAGS);
  const call = async (method: string, params = "{}") => {
    const { out, err } = await agentbus(["call", method, params, ...FLAGS], { cwd: place.path });
    return out === "" ? err : (JSON.parse(out) as unknown);
  };
  expect(await call("dice.roll", '{"sides": 2}')).toEqual({ rolled: expect.any(Number) });
  expect(await call("tool.list")).toMatchObject({ tools: [{ name: "roll_dice", source: "plugin:dice" }] });
  const { url } = JSON.parse(await readFile(join(place.path, "data/gateway.json"), "utf8")) as {
    url: string;
  };
  expect(await (await fetch(`${url}/plugins/dice/2`)).json()).toEqual({ rolled: expect.any(Number) });
  const described = (await (await fetch(`${url}/docs/json`)).json()) as { readonly paths: object };
  expect(Object.keys(described.paths)).toContain("/api/v1/rpc/dice.roll");
  expect(Object.keys(described.paths)).toContain("/plugins/dice/{sides}");
  expect(await doctor(place.path)).toEqual([
    { check: "plug-ins", state: "ok", finding: `dice (${source}): ready` },
  ]);

  place.file("plugins/dice.ts", text.replace("Math.floor(Math.random() * sides)", "6_000"));
  await eventually(
    () => call("dice.roll", '{"sides": 2}'),
    (answer) => Bun.deepEquals(answer, { rolled: 6_001 }),
  );
  place.file("plugins/dice.ts", `${text}}`);
  await eventually(
    () => doctor(place.path),
    ([finding]) => (finding as { readonly state: string }).state === "warning",
  );
  expect(await call("dice.roll", '{"sides": 2}')).toEqual({ rolled: 6_001 });
  const { out } = await agentbus(["status", ...FLAGS], { cwd: place.path });
  expect(out).toMatch(/plug-in {7}dice, stale: .*dice\.ts:\d+:\d+/);
  gateway.signal("SIGTERM");
  expect(await gateway.exited).toBe(0);
});

test("a plug-in has the packages beside it, also in a worker", async () => {
  using place = workplace();
  place.file("agentbus.toml", TOML);
  place.file("plugins/node_modules/greeting/package.json", '{ "name": "greeting", "main": "./lib/it.js" }');
  place.file("plugins/node_modules/greeting/lib/it.js", 'module.exports = () => "hello";');
  const head = 'import greeting from "greeting";';
  place.file("plugins/a.ts", sayer("a", "greeting()", head));
  place.file(
    "plugins/b.ts",
    sayer("b", "greeting()", head).replace('name: "b",', 'name: "b", isolate: true,'),
  );
  await using _gateway = await serve(place.path, FLAGS);
  for (const name of ["a", "b"]) {
    const { out, err } = await agentbus(["call", `${name}.say`, ...FLAGS], { cwd: place.path });
    expect([err, out === "" ? null : JSON.parse(out)]).toEqual(["", { said: "hello" }]);
  }
});

test("without a gateway the doctor says what would not be loaded, and runs nothing", async () => {
  using place = workplace();
  place.file("agentbus.toml", TOML);
  place.file("plugins/a.ts", `await Bun.write("ran", "");`);
  place.file("plugins/b.ts", sayer("b", `"b"`));
  await chmod(join(place.path, "plugins/b.ts"), 0o666);
  const [a, b] = ["a.ts", "b.ts"].map((name) => join(place.path, "plugins", name));
  expect(await doctor(place.path)).toEqual([
    { check: "plug-ins", state: "ok", finding: `${a}: loaded by a gateway that runs` },
    {
      check: "plug-ins",
      state: "failed",
      finding: `${b} is not loaded: others can write ${b}, and so run code here: chmod go-w '${b}'`,
      advice: "mend it: a gateway that runs loads it by itself",
    },
  ]);
  expect(await Bun.file(join(place.path, "ran")).exists()).toBe(false);
});
