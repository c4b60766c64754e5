import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A tab of Debian's Firefox, driven over WebDriver BiDi, which it speaks by itself. */
export interface FirefoxTab extends AsyncDisposable {
  open(url: string): Promise<void>;
  /** Loads it anew; where that fails there is the browser's own page. */
  reload(): Promise<void>;
  /** The value of an expression in the page. */
  value(expression: string): Promise<unknown>;
  /** Resolves once it is true. @throws where it does not become so */
  until(expression: string): Promise<void>;
  /** By the keyboard, to whatever has it. */
  type(text: string): Promise<void>;
}

interface Reply {
  readonly id?: number;
  readonly type: string;
  readonly error?: string;
  readonly message?: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- each command has a result of its own
  readonly result?: any;
}

export const ENTER = "\uE007";
const PATIENCE_MS = 30_000;
const LOOK_MS = 100;

export async function startFirefox(): Promise<FirefoxTab> {
  const profile = mkdtempSync(join(tmpdir(), "agentbus-firefox-"));
  const browser = Bun.spawn(
    [
      "firefox-esr",
      "--headless",
      "--no-remote",
      "--profile",
      profile,
      "--remote-debugging-port",
      "0",
      "about:blank",
    ],
    {
      env: { PATH: Bun.env["PATH"] ?? "", HOME: profile },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    },
  );
  const socket = new WebSocket(`${await addressIn(browser.stderr)}/session`);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", reject);
  });
  const replies = new Map<number, (reply: Reply) => void>();
  socket.addEventListener("message", ({ data }) => {
    const reply = JSON.parse(String(data)) as Reply;
    if (reply.id !== undefined) replies.get(reply.id)?.(reply);
  });
  // oxlint-disable-next-line typescript/no-explicit-any -- see above
  const send = async (method: string, params: object): Promise<any> => {
    const id = replies.size + 1;
    const answered = new Promise<Reply>((resolve) => replies.set(id, resolve));
    socket.send(JSON.stringify({ id, method, params }));
    const { type, error, message, result } = await answered;
    if (type === "error") throw new Error(`${method}: ${error}: ${message}`);
    return result;
  };
  await send("session.new", { capabilities: {} });
  const { contexts } = await send("browsingContext.getTree", {});
  const { context } = contexts[0];

  const value: FirefoxTab["value"] = async (expression) => {
    const target = { context };
    const { result } = await send("script.evaluate", { expression, target, awaitPromise: true });
    return result?.value;
  };
  return {
    // Not from one address to the same one, which loads nothing.
    async open(url) {
      for (const next of ["about:blank", url])
        await send("browsingContext.navigate", { context, url: next, wait: "complete" });
    },
    reload: () => send("browsingContext.reload", { context, wait: "complete" }).catch(() => undefined),
    value,
    async until(expression) {
      const end = performance.now() + PATIENCE_MS;
      while ((await value(`Boolean(${expression})`)) !== true) {
        if (performance.now() > end)
          throw new Error(`not so: ${expression}\n${String(await value("document.body.innerText"))}`);
        await Bun.sleep(LOOK_MS);
      }
    },
    async type(text) {
      const keys = [...text].flatMap((key) => [
        { type: "keyDown", value: key },
        { type: "keyUp", value: key },
      ]);
      await send("input.performActions", { context, actions: [{ type: "key", id: "keys", actions: keys }] });
    },
    async [Symbol.asyncDispose]() {
      socket.close();
      browser.kill();
      await browser.exited;
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

/** Where it says that it listens. */
async function addressIn(stderr: ReadableStream<Uint8Array>): Promise<string> {
  let said = "";
  for await (const chunk of stderr) {
    said += new TextDecoder().decode(chunk);
    const [, address] = /WebDriver BiDi listening on (\S+)/.exec(said) ?? [];
    if (address !== undefined) return address;
  }
  throw new Error(`firefox-esr ended: ${said}`);
}
