import { expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { temporary } from "../embed/embed.fixture.ts";
import { canShim, compileFsyncShim } from "../support/fsync-shim.ts";

const CREATE = resolve(import.meta.dir, "../../src/embed/create.ts");

/** Says a message on a disk that broke, and then how its gateway is and that it is still there itself. */
const PROGRAM = `import { createGateway } from ${JSON.stringify(CREATE)};
const [data_dir = "", handled = ""] = process.argv.slice(2);
const heard: string[] = [];
const gateway = createGateway(
  { server: { port: 0, data_dir }, llm: { default_provider: "demo" }, log: { level: "silent" } },
  handled === "" ? {} : { onFatal: () => void heard.push("fatal") },
);
await gateway.start();
const { sessionId } = await gateway.chat.createSession();
const reading = (async () => {
  for await (const event of gateway.subscribe(sessionId)) void event;
  return "ended";
})();
process.stdout.write("ready\\n");
await new Promise((broken) => process.stdin.once("data", broken));
const said = await gateway.chat
  .addMessage(sessionId, { role: "user", content: "x" })
  .then(() => "acknowledged", ({ reason }) => reason);
const read = await reading;
const later = await gateway.chat.stats().then(() => "answered", ({ reason }) => reason);
console.log(JSON.stringify({ said, read, later, status: gateway.status().status, heard }));
await gateway.stop({ graceMs: 0 });
process.exit(7);
`;

for (const handled of ["", "handled"]) {
  test.skipIf(!canShim())(
    `a disk that breaks ends the gateway and not the program${handled === "" ? "" : ", which is told"}`,
    async () => {
      await using directory = await temporary();
      const data_dir = join(directory.path, "data");
      await mkdir(join(directory.path, "shim"));
      const shim = compileFsyncShim(join(directory.path, "shim"), data_dir);
      const program = join(directory.path, "program.ts");
      await writeFile(program, PROGRAM);
      const child = Bun.spawn([process.execPath, program, data_dir, handled], {
        env: { PATH: Bun.env["PATH"] ?? "", HOME: directory.path, ...shim.env },
        stdin: "pipe",
        stdout: "pipe",
        stderr: "pipe",
      });
      const decoder = new TextDecoder();
      let out = "";
      for await (const chunk of child.stdout) {
        out += decoder.decode(chunk, { stream: true });
        if (out !== "ready\n") continue;
        shim.failWrites("EIO");
        await child.stdin.write("go\n");
        await child.stdin.flush();
      }
      const [code, err] = [await child.exited, await new Response(child.stderr).text()];
      expect({ err, code }).toEqual({ err: "", code: 7 });
      expect(JSON.parse(out.split("\n")[1] ?? "")).toEqual({
        said: "UNAVAILABLE",
        read: "ended",
        later: "UNAVAILABLE",
        status: "failed",
        heard: handled === "" ? [] : ["fatal"],
      });
    },
    60_000,
  );
}
