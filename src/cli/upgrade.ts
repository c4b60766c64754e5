import { existsSync, readFileSync, realpathSync } from "node:fs";
import { BUILD, VERSION } from "../build.ts";
import type { Build } from "../build.ts";
import type { Command, Input } from "./args.ts";
import { CONFIG_OPTIONS } from "./configuration.ts";
import { readLocalConfig } from "./local-config.ts";
import { CommandError, EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson } from "./io.ts";
import { isVersion, publicKeysIn } from "./release-file.ts";
import { TRUST_OPTIONS } from "./trust.ts";
import type { Release } from "./upgrade-fetch.ts";
import { fetchArchive, findRelease } from "./upgrade-fetch.ts";
import type { Installed, UpgradeContext } from "./upgrade-gateway.ts";
import { isLeftBehind, refuseUnreadable, refuseWhileOpening, startAnew } from "./upgrade-gateway.ts";
import {
  INTERRUPTED,
  askFacts,
  mayReplace,
  openWorkplace,
  previousOf,
  swap,
  unpack,
} from "./upgrade-swap.ts";

const READY_SECS = 60;

export const upgrade: Command = {
  name: "upgrade",
  summary: "puts a newer release in the place of this executable, and restarts the gateway",
  usage: "",
  details: [
    "The release has to be signed by a key this executable trusts. It is tried before it takes the place of this one, which is kept",
    "beside it. The gateway of this configuration is restarted (by systemd where that runs it), and where it is not ready in time the",
    "executable that was kept is put back. Nothing is changed unless everything holds.",
  ].join("\n"),
  args: [0, 0],
  options: {
    check: { summary: "only say whether there is a newer one" },
    version: { value: "V", summary: "this version, an older one, too; else the newest" },
    "base-url": { value: "URL", summary: "where releases are; else where this one came from" },
    "public-key": { value: "FILE", summary: "the keys to trust instead of those in this executable, as PEM" },
    rollback: { summary: "put back the executable that was kept, and keep this one" },
    "no-restart": { summary: "leave the gateway alone" },
    "ready-secs": { value: "N", summary: `how long it may take until it is ready; default ${READY_SECS}` },
    json: { summary: "what was done as JSON" },
    ...TRUST_OPTIONS,
    ...CONFIG_OPTIONS,
  },
  run: async (input, io) => {
    const build = ownBuild();
    const readyMs = readySecs(input) * 1_000;
    const executable = realpathSync(process.execPath);
    if (input.on("rollback")) {
      mayReplace(executable);
      outlastTerminal(io);
      return putBack(executable, { config: readLocalConfig(input, io).config, input, io, readyMs });
    }
    const release = await findRelease(wantedOf(input, build));
    const order = Bun.semver.order(release.version, VERSION);
    const named = input.text("version") !== undefined;
    if (input.on("check")) {
      const newer = order > 0;
      if (input.on("json")) outJson(io, { version: VERSION, released: release.version, newer });
      else io.out(newer ? `${VERSION} → ${release.version}: agentbus upgrade` : isNewest(release.version));
      return EXIT.ok;
    }
    outlastTerminal(io);
    if (order === 0 || (order < 0 && !named)) {
      // It was put in place without its gateway.
      const config = order === 0 && !input.on("no-restart") ? readLocalConfig(input, io).config : null;
      if (config !== null && isLeftBehind(executable, config)) {
        io.err(isNewest(release.version));
        return finish({ executable, version: VERSION, isNew: false }, { config, input, io, readyMs });
      }
      if (input.on("json")) outJson(io, { from: VERSION, to: VERSION, restarted: false });
      else io.out(isNewest(release.version));
      return EXIT.ok;
    }
    mayReplace(executable);
    const { config } = readLocalConfig(input, io);
    refuseWhileOpening(config);
    const context = { config, input, io, readyMs };
    await install(release, build.target, executable, context);
    return finish({ executable, version: release.version, isNew: true }, context);
  },
};

/** A login that ends takes nothing away from who judges what was put in place. */
function outlastTerminal(io: Io): void {
  process.on("SIGHUP", () => undefined);
  io.outlast();
}

function isNewest(released: string): string {
  return released === VERSION
    ? `agentbus ${VERSION} is what is released`
    : `agentbus ${VERSION} is newer than ${released}, which is released (--version ${released} takes that nevertheless)`;
}

/** @throws CommandError where this is no executable of a release */
function ownBuild(): Build {
  if (BUILD !== null && Bun.isStandaloneExecutable) return BUILD;
  throw new CommandError(
    "this was built from the sources: build it anew, or install a release in its place (docs/releases.md)",
  );
}

function wantedOf(input: Input, build: Build): Parameters<typeof findRelease>[0] {
  const base_url = (input.text("base-url") ?? build.base_url).replace(/\/+$/, "");
  if (!/^https?:\/\//.test(base_url) || !URL.canParse(base_url))
    throw new UsageError("say where the releases are with --base-url URL: this executable does not know");
  const version = input.text("version")?.replace(/^v/, "") ?? null;
  if (version !== null && !isVersion(version))
    throw new UsageError(`"${version}" is no version: write it like 1.2.3`);
  const file = input.text("public-key");
  const keys = file === undefined ? build.keys : keysIn(file);
  if (keys.length === 0)
    throw new CommandError("this executable trusts no release key: give one with --public-key FILE");
  return { base_url, version, target: build.target, keys };
}

function keysIn(file: string): string[] {
  if (!existsSync(file)) throw new CommandError(`there is no ${file}`);
  return publicKeysIn(readFileSync(file, "utf8"));
}

function readySecs(input: Input): number {
  const text = input.text("ready-secs") ?? String(READY_SECS);
  if (!/^[1-9]\d{0,4}$/.test(text))
    throw new UsageError(`--ready-secs takes a number above 0, not "${text}"`);
  return Number(text);
}

/** Fetches it, tries it, and puts it in place. */
async function install(
  release: Release,
  target: string,
  executable: string,
  { config, input, io }: UpgradeContext,
): Promise<void> {
  io.err(`fetching ${release.file}`);
  using workplace = openWorkplace(executable);
  const bytes = await fetchArchive(release);
  io.err("signature and SHA-256: good");
  const candidate = await unpack({ file: release.file, bytes }, target, workplace.path);
  const said = await askFacts(candidate);
  if (said.version !== release.version)
    throw new CommandError(`${release.file} holds version ${said.version}: nothing was changed`);
  if (!input.on("no-restart")) await refuseUnreadable(said, config);
  swap(executable, candidate);
  io.err(`${executable} is ${release.version}; ${VERSION} is kept as ${previousOf(executable)}`);
}

async function putBack(executable: string, context: UpgradeContext): Promise<number> {
  refuseWhileOpening(context.config);
  const previous = previousOf(executable);
  if (!existsSync(previous)) throw new CommandError(`there is no ${previous}: nothing was kept`);
  const facts = await askFacts(previous);
  if (!context.input.on("no-restart")) await refuseUnreadable(facts, context.config);
  const { version } = facts;
  swap(executable, previous);
  context.io.err(`${executable} is ${version} again; ${VERSION} is kept as ${previous}`);
  return finish({ executable, version, isNew: true }, context);
}

/** Restarts the gateway; where that comes to nothing, the executable that was kept is back in its place. */
async function finish(installed: Installed, context: UpgradeContext): Promise<number> {
  const { executable } = installed;
  const { input, io } = context;
  const interrupted = (): never => {
    io.err(
      "agentbus: nobody waits for the gateway any more: agentbus status tells how it is, agentbus upgrade --rollback puts back what was kept",
    );
    process.exit(INTERRUPTED);
  };
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);
  const { to, restarted, failed } = await startAnew(installed, context);
  if (input.on("json")) outJson(io, { from: VERSION, to, executable, restarted, failed });
  else if (failed === null) io.out(`agentbus ${to}${restarted ? " runs, and is ready" : ""}`);
  else io.err(`agentbus: ${failed}`);
  return failed === null ? EXIT.ok : EXIT.failed;
}
