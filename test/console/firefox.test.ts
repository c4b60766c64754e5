import { expect, test } from "bun:test";
import type { CutProxy } from "../support/cut-proxy.ts";
import { startCutProxy } from "../support/cut-proxy.ts";
import { ENTER, startFirefox } from "../support/firefox.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";
import { call } from "./visitor.ts";

const UPTO = 400;
const LONG_MS = 120_000;

/** The texts of the finished answers, as JSON. */
const ANSWERS = `JSON.stringify([...document.querySelectorAll(".message.assistant.complete .markdown")].map((each) => each.innerText))`;

test.skipIf(!needs("firefox-esr", "firefox-esr"))(
  "Firefox signs in, talks, reloads in mid-answer, and sends what was typed while there was no gateway once",
  async () => {
    let gateway: RunningGateway | null = null;
    const proxy: CutProxy = startCutProxy({ target: () => gateway?.address ?? "", plan: () => null });
    const at = `http://${proxy.address}`;
    gateway = await startGateway({ config: { server: { allowed_origins: [at] } } });
    try {
      await using tab = await startFirefox();
      const say = async (text: string): Promise<void> => {
        await tab.until(`document.querySelector("#message")?.focus() === undefined`);
        await tab.until(`document.activeElement?.id === "message"`);
        await tab.type(text + ENTER);
      };
      await tab.open(at);
      await tab.until(`document.querySelector("input[type=password]")`);
      await tab.value(`document.querySelector("input[type=password]").focus()`);
      await tab.type(gateway.token + ENTER);
      await tab.until(`document.querySelector("#message")`);

      await say(`/long ${UPTO}`);
      await tab.until(`document.querySelector(".message.assistant.streaming")`);
      await tab.reload();
      const counted = Array.from({ length: UPTO }, (_, index) => index + 1).join(" ");
      await tab.until(`document.querySelector(".message.assistant.complete")`);
      expect(JSON.parse(String(await tab.value(ANSWERS)))).toEqual([counted]);

      gateway.kill("SIGKILL");
      await gateway.exited;
      await tab.until(`document.body.innerText.includes("No connection.")`);
      await say("/long 3");
      await tab.until(`document.body.innerText.includes("Sending…")`);
      const session = String(await tab.value("location.hash"));
      await tab.reload();
      await gateway.restart();
      await tab.open(`${at}/${session}`);
      await tab.until(`document.querySelectorAll(".message.assistant.complete").length === 2`);
      expect(JSON.parse(String(await tab.value(ANSWERS)))).toEqual([counted, "1 2 3"]);
      const session_id = decodeURIComponent(session.split("/").at(-1) ?? "");
      const { messages } = await call(gateway, "chat.history", { session_id });
      const said = messages.filter(({ role }: { role: string }) => role === "user");
      expect(said.map(({ content }: { content: string }) => content)).toEqual([`/long ${UPTO}`, "/long 3"]);
      expect(await tab.value("Object.keys(localStorage).sort().join()")).toBe("agentbus.login,agentbus.user");
    } finally {
      proxy.stop();
      await gateway[Symbol.asyncDispose]();
    }
  },
  LONG_MS,
);
