import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Clock, Logger } from "../src/core/ports.ts";
import { DEFAULT_LIMITS } from "../src/core/limits.ts";
import { loadConfig } from "../src/config.ts";
import { construct } from "../src/gateway.ts";
import type { ErrorCode } from "../src/protocol/errors.ts";
import { ERRORS } from "../src/protocol/errors.ts";
import type { DurableEvent, SignalEvent } from "../src/protocol/events.ts";
import { DURABLE, SIGNALS } from "../src/protocol/events.ts";
import type { MethodDefinition } from "../src/protocol/methods.ts";
import { METHOD_ROUTES } from "../src/transport/rest-routes.ts";
import { CLOSES, FOLDS, LIMITS, READERS, WHEN } from "./docs-said.ts";
import { inlineType, namedTypes, typeOf } from "./docs-notation.ts";

/**
 * The generated parts of docs/protocol.md, each between two comments of its name: `bun scripts/docs.ts` writes them,
 * `--check` writes nothing and ends with 1 where they are stale.
 */
const ROOT = resolve(import.meta.dir, "..");
const REFERENCE = resolve(ROOT, "docs/protocol.md");

const SECTIONS: Readonly<Record<string, () => string>> = {
  errors: errorTable,
  methods: () => methods().map(methodSection).join("\n\n"),
  "method-list": methodTable,
  types: namedTypes,
  events: eventTable,
  signals: signalTable,
  rest: restTable,
  limits: limitTable,
  resume: () => exchange("resume"),
  restart: () => exchange("restart"),
};

/** What is with the reference: it is as it should be, it was not, or it was not and is now (with `write`). */
export function refreshDocs(write: boolean): "fresh" | "stale" | "written" {
  const text = readFileSync(REFERENCE, "utf8");
  let fresh = text;
  for (const [name, make] of Object.entries(SECTIONS)) fresh = replaceSection(fresh, name, make());
  if (fresh === text) return "fresh";
  if (write) writeFileSync(REFERENCE, fresh);
  return write ? "written" : "stale";
}

function replaceSection(text: string, name: string, content: string): string {
  const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
  const [from, to] = [text.indexOf(start), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/protocol.md lacks ${start} … ${end}`);
  return `${text.slice(0, from + start.length)}\n\n${content}\n\n${text.slice(to)}`;
}

/** The methods a gateway has: it is put together and never started. */
function methods(): readonly MethodDefinition[] {
  const nothing = (): void => undefined;
  const still: Clock = { now: () => 0, monotonic: () => 0, after: () => nothing, every: () => nothing };
  const silent: Logger = {
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: nothing,
    child: () => silent,
  };
  const { config } = loadConfig({ env: {}, cwd: import.meta.dir, flags: { "server.data_dir": "/" } });
  return construct({
    config,
    log: silent,
    version: "",
    overrides: { clock: still },
    onFatal: nothing,
  }).engine.registry.definitions();
}

function methodTable(): string {
  const rows = methods().map(({ name, scope, idempotent, doc }) => [
    `[\`${name}\`](#${name.replaceAll(".", "")})`,
    scope === null ? "–" : `\`${scope}\``,
    idempotent === true ? "yes" : "",
    doc,
  ]);
  return table(["method", "scope", "key", "what it does"], rows);
}

function methodSection(definition: MethodDefinition): string {
  const { name, scope, doc, idempotent, aliases = [], params, result } = definition;
  const routes = METHOD_ROUTES.filter((route) => route.method === name);
  const facts = [
    doc,
    scope === null ? "Any credential." : `Scope \`${scope}\`.`,
    idempotent === true ? "Heeds `idempotency_key`." : "",
    definition.audit === undefined ? "" : "In the [audit trail](#the-audit-trail).",
    routes.length > 0 ? `REST: ${list(routes.map(({ verb, path }) => `${verb} ${path}`))}.` : "",
    aliases.length > 0 ? `Also called ${list(aliases)}.` : "",
  ];
  const types = `params ${typeOf(params)}\nresult ${typeOf(result)}`;
  return `### ${name}\n\n${facts.filter((fact) => fact !== "").join(" ")}\n\n\`\`\`ts\n${types}\n\`\`\``;
}

function eventTable(): string {
  const rows = Object.values(DURABLE).map(({ type, payload, doc }) => [
    `\`${type}\``,
    `\`${inlineType(payload)}\``,
    doc,
    FOLDS[type as DurableEvent],
  ]);
  return table(["event", "payload", "what happened", "what a reader does"], rows);
}

function signalTable(): string {
  const rows = Object.values(SIGNALS).map(({ type, payload, doc }) => [
    `\`${type}\``,
    `\`${inlineType(payload)}\``,
    doc,
    READERS[type as SignalEvent],
  ]);
  return table(["signal", "payload", "what it says", "who gets it"], rows);
}

function errorTable(): string {
  const rows = Object.entries(ERRORS).map(([code, { http, status, close, retryable }]) => [
    `\`${code}\``,
    String(status),
    String(http),
    CLOSES.has(code as ErrorCode) ? String(close) : "",
    retryable ? "yes" : "",
    WHEN[code as ErrorCode],
  ]);
  return table(["code", "status", "HTTP", "close", "retryable", "when"], rows);
}

function restTable(): string {
  const rows = METHOD_ROUTES.map(({ verb, path, method, takes, status }) => [
    `\`${verb} ${path}\``,
    `[\`${method}\`](#${method.replaceAll(".", "")})`,
    { query: "query", body: "JSON body", path: "" }[takes],
    String(status),
  ]);
  return table(["route", "method", "params", "success"], rows);
}

function limitTable(): string {
  const rows = LIMITS.map(([key, what, answer]) => [
    `\`${key}\``,
    amount(key, DEFAULT_LIMITS[key]),
    what,
    answer,
  ]);
  return table(["limit", "default", "of what", "past it"], rows);
}

function amount(key: string, value: number): string {
  if (key.endsWith("_bytes"))
    return value % 1_048_576 === 0 ? `${value / 1_048_576} MiB` : `${value / 1_024} KiB`;
  if (key.endsWith("_ms")) return `${value / 1_000} s`;
  return key.endsWith("_secs") ? `${value} s` : String(value);
}

/** A recorded exchange: its notes as text, its frames between them, `→` from the client and `←` from the gateway. */
function exchange(name: string): string {
  const lines = readFileSync(resolve(ROOT, `docs/golden/${name}.jsonl`), "utf8")
    .trimEnd()
    .split("\n");
  let text = "";
  let frames: string[] = [];
  const flush = (): void => {
    if (frames.length > 0) text += `\`\`\`text\n${frames.join("\n")}\n\`\`\`\n\n`;
    frames = [];
  };
  for (const line of lines) {
    const [kind = "", value] = Object.entries(JSON.parse(line) as Record<string, unknown>)[0] ?? [];
    if (kind === "note") {
      flush();
      text += `${String(value)}\n\n`;
    } else frames.push(frameLine(kind, value));
  }
  flush();
  return text.trimEnd();
}

function frameLine(kind: string, value: unknown): string {
  if (kind === "client") return `→ ${JSON.stringify(value)}`;
  if (kind === "gateway") return `← ${JSON.stringify(value)}`;
  if (kind === "open") return `(a socket to ${String(value)}, with Authorization: Bearer …)`;
  return `(the socket is gone: ${String(value)})`;
}

function list(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(", ");
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
  const state = refreshDocs(!values.check);
  console.log(
    state === "stale" ? "docs/protocol.md is stale: run bun scripts/docs.ts" : `docs/protocol.md: ${state}`,
  );
  process.exitCode = state === "stale" ? 1 : 0;
}
