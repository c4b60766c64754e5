import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { resolve } from "node:path";
import type { Command, Input } from "./args.ts";
import { CommandError, EXIT, UsageError } from "./exit.ts";
import { KNOWN_PROVIDERS, listModels, tryModel } from "./init-providers.ts";
import type { Upstream } from "./init-providers.ts";
import { serviceReading, stepsAfter, variablesOf } from "./init-steps.ts";
import type { Io } from "./io.ts";
import { readStdin } from "./io.ts";
import { question, secret } from "./prompt.ts";
import { idOf } from "./service-config.ts";
import type { ServicePlace } from "./service-place.ts";

export const init: Command = {
  name: "init",
  summary: "choose a model provider, try it, write agentbus.toml",
  usage: "",
  details:
    "Asks in a terminal; with --yes takes the flags alone. The key is tried with one short call before it is written.",
  args: [0, 0],
  options: {
    provider: {
      value: "NAME",
      summary: `${Object.keys(KNOWN_PROVIDERS).join(", ")}, demo or a name of yours`,
    },
    "base-url": { value: "URL", summary: "of any OpenAI-compatible server" },
    "api-key": { value: "KEY", summary: "- reads it from stdin; else <PROVIDER>_API_KEY of the environment" },
    model: { value: "MODEL", summary: "what runs use without a choice of their own" },
    config: { value: "FILE", summary: "what to write; default: agentbus.toml here" },
    yes: { short: "y", summary: "ask nothing" },
    force: { summary: "replace a file that is there" },
  },
  run: async (input, io) => {
    const file = resolve(io.cwd, input.text("config") ?? "agentbus.toml");
    if (existsSync(file) && !input.on("force") && !saysNothing(file)) {
      throw new CommandError(`${file} is there already: --force replaces it, --config FILE writes another`);
    }
    const asks = io.stdin.isTTY === true && io.tty && !input.on("yes");
    const provider = await providerOf(input, asks);
    const service = serviceReading(file, io);
    const { text, unseen } =
      provider === "demo" ? demoFile() : await upstreamFile(provider, { input, io, asks, service });
    writeWhole(file, text, service);
    io.out(`wrote ${file}`);
    if (isOpen(file) && HAS_KEY.test(text))
      io.err(`warning: others can read ${file}, which has the key in it: chmod o-rwx ${file}`);
    for (const line of stepsAfter(service, unseen, io)) io.out(line);
    return EXIT.ok;
  },
};

/** The key itself, and no variable. */
const HAS_KEY = /^api_key = "(?!\$\{)/m;

interface Asking {
  readonly input: Input;
  readonly io: Io;
  /** Somebody is there to answer. */
  readonly asks: boolean;
  /** What reads the file; null: whoever is started with it. */
  readonly service: ServicePlace | null;
}

interface Written {
  readonly text: string;
  /** The variable that the text names and the service does not have; null: none. */
  readonly unseen: string | null;
}

function isOpen(file: string): boolean {
  return process.platform !== "win32" && (statSync(file).mode & 0o007) !== 0;
}

/** As the installation of a service leaves it: there is nothing to lose. */
function saysNothing(file: string): boolean {
  return readFileSync(file, "utf8")
    .split("\n")
    .every((line) => /^\s*(?:#|$)/.test(line));
}

async function providerOf(input: Input, asks: boolean): Promise<string> {
  const given = input.text("provider");
  const proposed = input.text("base-url") === undefined ? "openai" : "local";
  const name =
    given ??
    (asks
      ? await question(`Provider (${Object.keys(KNOWN_PROVIDERS).join(", ")}, demo, or another)`, proposed)
      : proposed);
  if (!/^[a-z0-9][a-z0-9_-]{0,63}$/.test(name)) {
    throw new UsageError(`"${name}" is no provider name: use small letters, digits, - and _`);
  }
  return name;
}

async function upstreamFile(provider: string, asking: Asking): Promise<Written> {
  const { input, io, asks } = asking;
  const known = KNOWN_PROVIDERS[provider] ?? { base_url: "" };
  const base_url = input.text("base-url") || known.base_url || (asks ? await question("Base URL") : "");
  if (!/^https?:\/\//.test(base_url) || !URL.canParse(base_url)) {
    throw new UsageError(`the provider ${provider} needs --base-url, like https://host/v1`);
  }
  const key = await keyOf(provider, asking);
  const { api_key_header = "" } = known;
  const upstream = { base_url, api_key: key.value, api_key_header, headers: {}, query: {} };
  const model = await modelOf(upstream, input, io, asks);
  io.out(`trying ${model} at ${base_url} …`);
  const answer = await tryModel(upstream, model);
  io.out(`it answers: ${answer.trim().slice(0, 80)}`);
  const lines = [
    "# Written by agentbus init; agentbus config show prints every option.",
    "[llm]",
    `default_provider = ${quoted(provider)}`,
    `default_model = ${quoted(model)}`,
    "",
    `[llm.providers.${provider}]`,
    `base_url = ${quoted(base_url)}`,
    ...(key.written === "" ? [] : [`api_key = ${quoted(key.written)}`]),
    ...(api_key_header === "" ? [] : [`api_key_header = ${quoted(api_key_header)}`]),
    "",
  ];
  return { text: lines.join("\n"), unseen: key.unseen };
}

/** The key, and what the file says of it: a key that comes from the environment stays there. */
async function keyOf(
  provider: string,
  { input, io, asks, service }: Asking,
): Promise<{ value: string; written: string; unseen: string | null }> {
  const variable = `${provider.toUpperCase().replaceAll("-", "_")}_API_KEY`;
  const given = (value: string) => ({ value, written: literal(value), unseen: null });
  const flag = input.text("api-key");
  if (flag !== undefined) return given(flag === "-" ? (await readStdin(io)).trim() : flag);
  const seen = variablesOf(service, io)[variable];
  const inherited = seen || io.env[variable];
  if (inherited) return { value: inherited, written: `\${${variable}:-}`, unseen: seen ? null : variable };
  return given(asks ? await secret("API key (empty for none; it is not shown)") : "");
}

async function modelOf(upstream: Upstream, input: Input, io: Io, asks: boolean): Promise<string> {
  const given = input.text("model");
  if (given !== undefined) return given;
  const models = await listModels(upstream);
  const [only] = models;
  if (only !== undefined && models.length === 1) return only;
  if (!asks)
    throw new UsageError(
      `init needs --model${models.length === 0 ? "" : `, for example one of ${models.slice(0, 8).join(", ")}`}`,
    );
  if (models.length > 0)
    io.out(`It offers ${models.slice(0, 30).join(", ")}${models.length > 30 ? ", …" : ""}`);
  const model = await question("Model", only);
  if (model === "") throw new UsageError("init needs a model");
  return model;
}

function demoFile(): Written {
  const lines = [
    "# Written by agentbus init; agentbus config show prints every option.",
    "[llm]",
    'default_provider = "demo"',
    "",
  ];
  return { text: lines.join("\n"), unseen: null };
}

/** The file may hold a key: nobody reads it who did not before, and it is there whole or not at all. */
function writeWhole(file: string, text: string, service: ServicePlace | null): void {
  const draft = `${file}.${process.pid}.tmp`;
  try {
    const handle = openSync(draft, "wx", 0o600);
    try {
      writeFileSync(handle, text);
      giveRights(handle, file, service);
    } finally {
      closeSync(handle);
    }
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

/** Those of the file that is replaced: whoever reads it goes on reading it. @throws CommandError where this user cannot give them */
function giveRights(handle: number, file: string, service: ServicePlace | null): void {
  const before = statSync(file, { throwIfNoEntry: false });
  const owned = fstatSync(handle);
  const { uid, gid, mode } =
    before ?? (service?.kind === "systemd" ? { uid: 0, gid: idOf("-g"), mode: 0o640 } : owned);
  try {
    if (uid !== owned.uid || gid !== owned.gid) fchownSync(handle, uid, gid);
    fchmodSync(handle, mode & 0o777);
  } catch {
    throw new CommandError(`${file} belongs to another user or group: do this as its owner, or as root`);
  }
}

/** A key as the file holds it: `${…}` in a file means a variable. */
function literal(key: string): string {
  return key.replaceAll("${", "$${");
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
