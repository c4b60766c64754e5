import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Stack } from "../gateway/stack.ts";
import { ended, eventually, startStack } from "../gateway/stack.ts";
import { script } from "../support/model-script.ts";
import { workplace } from "../support/executable.ts";
import { needs } from "../support/needs.ts";
import { PLACE, startPrometheus } from "../support/prometheus.ts";

setDefaultTimeout(120_000);

/** What comes along for Prometheus and Grafana, against Debian's Prometheus and a gateway that has something to do. */

const hasPrometheus = needs("prometheus", "prometheus") && needs("promtool", "prometheus");
const RULES = readFileSync(join(PLACE, "agentbus.rules.yml"), "utf8");
const DASHBOARD = resolve(import.meta.dir, "../../deploy/grafana/agentbus.json");
/** Prometheus comes without TLS here; what that has to be watched for is asked for in test/gateway/tls.test.ts. */
const OF_TLS = "agentbus_certificate_expiry_timestamp_seconds";

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

function promtool(...args: string[]): { code: number; out: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["promtool", ...args], { cwd: PLACE });
  return { code: exitCode, out: stdout.toString() + stderr.toString() };
}

test.skipIf(!hasPrometheus)("the rules are rules, and each of their alerts fires when it should", () => {
  expect(promtool("check", "rules", "agentbus.rules.yml")).toMatchObject({ code: 0 });
  expect(promtool("test", "rules", "agentbus.rules.test.yml")).toMatchObject({ code: 0 });
  const named = (text: string, pattern: RegExp): string[] =>
    [...text.matchAll(pattern)].map(([, name = ""]) => name).toSorted();
  const tested = readFileSync(join(PLACE, "agentbus.rules.test.yml"), "utf8");
  expect(named(tested, /\{alertname="(\w+)"\}/g)).toEqual(named(RULES, /alert: (\w+)/g));
});

test.skipIf(!hasPrometheus)("the section for Alertmanager can be used once its marks are off", () => {
  using place = workplace();
  const marked = readFileSync(join(PLACE, "prometheus.yml"), "utf8");
  const section = /^# alerting:\n(?:# {3}.*\n)+/m;
  const text = marked.replace(section, (lines) => lines.replaceAll(/^# /gm, ""));
  expect(text).toContain("\nalerting:\n");
  const file = place.file("prometheus.yml", text);
  expect(promtool("check", "config", "--syntax-only", file)).toMatchObject({ code: 0 });
});

/** A bit of everything that can be measured, until it is told to end. */
async function keepBusy({ owner, model, guest }: Stack, signal: AbortSignal): Promise<void> {
  model.otherwise(({ body }) => {
    const asked = body.messages.at(-1);
    if (asked.content === "fail") return script().status(400);
    const answer = script().usage({ prompt_tokens: 100, completion_tokens: 10 });
    return asked.role === "user" ? answer.text("Let me see.").tool("time", {}) : answer.text("It is late.");
  });
  const stranger = await guest({ user: "ada", role: "viewer" });
  await using socket = await owner.connect();
  for (let i = 0; !signal.aborted; i++) {
    for (const message of ["What time is it?", "fail"]) {
      const sent = await socket.request("chat.send", { session_id: `busy-${i % 3}`, message });
      await ended(owner, sent.run_id);
    }
    await stranger.ask("POST", "/api/v1/chat", { body: { message: "no" } });
    await owner.ask("POST", "/api/v1/chat", { body: { message: "x".repeat(200_000) } });
    await owner.ask("GET", "/api/v1/sessions");
  }
}

function busyUntilDisposed(stack: Stack): AsyncDisposable {
  const over = new AbortController();
  const busy = keepBusy(stack, over.signal);
  return {
    async [Symbol.asyncDispose]() {
      over.abort();
      await busy;
    },
  };
}

test.skipIf(!hasPrometheus)(
  "every expression of the dashboard has data, every rule can be evaluated and none fires",
  async () => {
    using backups = workplace();
    await using stack = await startStack({
      config: {
        tools: { builtin: ["time"], policy: { "*": "deny", time: "allow" } },
        backup: { directory: backups.path },
      },
      provider: { prices: { "fake-1": { input: 1, output: 2 } } },
    });
    const { token } = await stack.guest({ user: "prometheus", scopes: ["system.read"] });
    await using prometheus = await startPrometheus(stack.gateway.address, token);
    await using _busy = busyUntilDisposed(stack);
    const panels = (JSON.parse(readFileSync(DASHBOARD, "utf8")) as { panels: readonly Panel[] }).panels;
    const expressions = panels.flatMap(({ title, targets = [] }) =>
      targets.filter(({ expr }) => !expr.includes(OF_TLS)).map(({ expr }) => ({ title, expr: filled(expr) })),
    );
    expect(expressions.length).toBeGreaterThan(50);
    const empty = async (): Promise<string[]> => {
      const found = await Promise.all(
        expressions.map(async ({ title, expr }) =>
          (await prometheus.query(expr)).length > 0 ? [] : [`${title}: ${expr}`],
        ),
      );
      return found.flat();
    };
    await eventually(empty, (left) => left.length === 0, 60_000);
    const { groups } = await eventually(
      () => prometheus.api("rules"),
      ({ groups: all }) =>
        all[0].rules.every(
          ({ lastEvaluation }: { lastEvaluation: string }) => !lastEvaluation.startsWith("0001"),
        ),
      30_000,
    );
    expect(groups[0].rules.filter(({ health }: { health: string }) => health !== "ok")).toEqual([]);
    expect(await prometheus.query('ALERTS{alertstate="firing"}')).toEqual([]);
  },
);

/** With what Grafana puts in. */
function filled(expression: string): string {
  return expression
    .replaceAll("$__rate_interval", "10s")
    .replaceAll("$job", "agentbus")
    .replaceAll("$instance", ".+");
}
