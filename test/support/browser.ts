import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A page in a browser without a window. */
export interface Page {
  /** What the console and the browser itself complained of so far, Content-Security-Policy among it. */
  readonly complaints: readonly string[];
  open(url: string): Promise<void>;
  /** The value of an expression, once it is truthy. Rejects after 20 s, or as many milliseconds as are given. */
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  until(expression: string, patience_ms?: number): Promise<any>;
}

export interface Browser extends AsyncDisposable {
  newPage(): Promise<Page>;
}

const PATIENCE_MS = 20_000;
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--remote-debugging-port=0",
];

/** Starts Chromium with a profile of its own and speaks its DevTools protocol. */
export async function startBrowser(...more: readonly string[]): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), "agentbus-browser-"));
  const child = Bun.spawn(["chromium", ...FLAGS, ...more, `--user-data-dir=${profile}`, "about:blank"], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const devtools = await openDevTools(await addressOf(child.stderr));
  return {
    newPage: () => newPage(devtools),
    async [Symbol.asyncDispose]() {
      devtools.close();
      child.kill("SIGKILL");
      await child.exited;
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Where it is told from: it says so on its way up. What comes later is read away. */
async function addressOf(stderr: ReadableStream<Uint8Array>): Promise<string> {
  const found = Promise.withResolvers<string>();
  void (async () => {
    let text = "";
    const decoder = new TextDecoder();
    for await (const bytes of stderr) {
      if (text.length < 100_000) text += decoder.decode(bytes, { stream: true });
      const [, address] = /DevTools listening on (ws:\S+)/.exec(text) ?? [];
      if (address !== undefined) found.resolve(address);
    }
    found.reject(new Error(`chromium ended:\n${text.slice(-2_000)}`));
  })();
  return found.promise;
}

// oxlint-disable-next-line typescript/no-explicit-any -- what the protocol answers depends on what is asked
type Answer = any;

interface DevTools {
  ask(method: string, params?: object, session?: string): Promise<Answer>;
  on(listener: (method: string, params: Answer, session: string | undefined) => void): void;
  close(): void;
}

async function openDevTools(address: string): Promise<DevTools> {
  const socket = new WebSocket(address);
  const waiting = new Map<number, PromiseWithResolvers<Answer>>();
  const listeners: Parameters<DevTools["on"]>[0][] = [];
  let asked = 0;
  socket.addEventListener("message", ({ data }) => {
    const { id, method, params, result, error, sessionId } = JSON.parse(String(data));
    if (id === undefined) for (const listener of listeners) listener(method, params, sessionId);
    else if (error === undefined) waiting.get(id)?.resolve(result);
    else waiting.get(id)?.reject(new Error(error.message));
  });
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", () => reject(new Error("chromium does not answer")));
  });
  return {
    ask(method, params = {}, session) {
      const answer = Promise.withResolvers<Answer>();
      waiting.set(++asked, answer);
      socket.send(
        JSON.stringify({
          id: asked,
          method,
          params,
          ...(session !== undefined && { sessionId: session }),
        }),
      );
      return answer.promise;
    },
    on: (listener) => void listeners.push(listener),
    close: () => socket.close(),
  };
}

async function newPage(devtools: DevTools): Promise<Page> {
  const { targetId } = await devtools.ask("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await devtools.ask("Target.attachToTarget", { targetId, flatten: true });
  const complaints: string[] = [];
  devtools.on((method, params, session) => {
    if (session !== sessionId) return;
    if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level))
      complaints.push(params.entry.text);
    if (method === "Runtime.exceptionThrown") complaints.push(params.exceptionDetails.text);
    if (method === "Runtime.consoleAPICalled" && params.type === "error")
      complaints.push(JSON.stringify(params.args));
  });
  const ask = (method: string, params: object = {}): Promise<Answer> =>
    devtools.ask(method, params, sessionId);
  await Promise.all(["Page.enable", "Runtime.enable", "Log.enable"].map((method) => ask(method)));
  return {
    complaints,
    async open(url) {
      const { errorText } = await ask("Page.navigate", { url });
      if (errorText !== undefined) throw new Error(`${url}: ${errorText}`);
    },
    async until(expression, patience_ms = PATIENCE_MS) {
      for (const end = performance.now() + patience_ms; ;) {
        const { result } = await ask("Runtime.evaluate", { expression, returnByValue: true });
        if (result.value) return result.value;
        if (performance.now() > end) throw new Error(`${expression} did not come about`);
        await Bun.sleep(20);
      }
    },
  };
}
