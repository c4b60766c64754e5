import { existsSync, lstatSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exclusive } from "./exclusive.ts";

const SUITE = "bookworm";
const MAKE_MS = 300_000;
/** Besides what every Debian has: what runs services, and what its programs are told by. */
const PACKAGES = ["systemd", "dbus"];

/**
 * A Debian in a folder, made once and kept below the temporary folder for the next who needs one: takes most of a minute.
 * Nobody writes into it. Needs root and debootstrap.
 */
export function debianRoot(): Promise<string> {
  return exclusive("debian", madeRoot);
}

async function madeRoot(): Promise<string> {
  const root = join(tmpdir(), `agentbus-${SUITE}-${PACKAGES.join("-")}`);
  // In a folder everybody can write to it might be somebody else's.
  if (existsSync(root) && lstatSync(root).uid === process.getuid?.()) return root;
  const draft = `${root}.${process.pid}`;
  const argv = ["debootstrap", "--variant=minbase", `--include=${PACKAGES.join(",")}`, SUITE, draft];
  const child = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "pipe", timeout: MAKE_MS });
  const said = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) {
    rmSync(draft, { recursive: true, force: true });
    throw new Error(`debootstrap failed: ${said.slice(-2_000)}`);
  }
  // Packages that were unpacked are of no use any more.
  rmSync(join(draft, "var/cache/apt"), { recursive: true, force: true });
  rmSync(join(draft, "var/lib/apt/lists"), { recursive: true, force: true });
  mkdirSync(join(draft, "var/cache/apt/archives/partial"), { recursive: true });
  try {
    renameSync(draft, root);
  } catch (error) {
    // Another clone made it meanwhile.
    rmSync(draft, { recursive: true, force: true });
    if (!existsSync(root)) throw error;
  }
  return root;
}
