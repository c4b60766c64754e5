import { readFileSync } from "node:fs";
import { callSystem } from "./system-call.ts";
import { SYSTEM } from "./systemd-unit.ts";

/** As whom the service of the machine runs, and what of the machine its sandbox leaves it. */
export interface ServiceUser {
  readonly name: string;
  readonly uid: number;
  /** The first is its own. */
  readonly gids: readonly number[];
  /** Directories that it does not see. */
  readonly hidden: readonly string[];
  /** Places in hidden ones that it sees all the same. */
  readonly shown: readonly string[];
  /** Directories that systemd makes for it. */
  readonly made: readonly string[];
  /** Where alone it writes; null: wherever it may. */
  readonly writable: readonly string[] | null;
  /** The first port that it may take. */
  readonly least_port: number;
}

const USUAL_LEAST_PORT = 1_024;
const HOMES = ["/home", "/root", "/run/user"];
const SHOWN = [
  "User",
  "Group",
  "SupplementaryGroups",
  "ProtectHome",
  "ProtectSystem",
  "StateDirectory",
  "ReadWritePaths",
  "BindPaths",
  "BindReadOnlyPaths",
  "AmbientCapabilities",
] as const;

type Properties = Readonly<Record<(typeof SHOWN)[number], string>>;

/** By the unit, with what was added to it. Null: it is root, who may do everything, or nobody knows. */
export function serviceUser(): ServiceUser | null {
  const properties = propertiesOf();
  const name = properties === null ? SYSTEM.user : properties.User;
  const uid = Number(said(["id", "-u", name]) || Number.NaN);
  if (name === "" || !Number.isInteger(uid) || uid === 0) return null;
  const own = properties?.Group ? [gidOf(properties.Group)] : [];
  const others = wordsOf(properties?.SupplementaryGroups).map(gidOf);
  const gids = [...own, ...numbersIn(said(["id", "-g", name])), ...numbersIn(said(["id", "-G", name]))];
  return {
    name,
    uid,
    gids: [...new Set([...gids, ...others])].filter((gid) => !Number.isNaN(gid)),
    ...sandboxOf(properties),
    least_port: leastPort(properties?.AmbientCapabilities ?? ""),
  };
}

function leastPort(capabilities: string): number {
  if (capabilities.includes("cap_net_bind_service")) return 1;
  try {
    return Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"));
  } catch {
    return USUAL_LEAST_PORT;
  }
}

function sandboxOf(
  properties: Properties | null,
): Pick<ServiceUser, "hidden" | "shown" | "made" | "writable"> {
  if (properties === null) return { hidden: [], shown: [], made: [], writable: null };
  const bound = wordsOf(properties.BindPaths).map(targetOf);
  const hidden = ["yes", "tmpfs"].includes(properties.ProtectHome) ? HOMES : [];
  const made = wordsOf(properties.StateDirectory).map((each) => `/var/lib/${each}`);
  const named = wordsOf(properties.ReadWritePaths).map((each) => each.replace(/^[-+]+/, ""));
  return {
    hidden,
    made,
    shown: [...bound, ...wordsOf(properties.BindReadOnlyPaths).map(targetOf)],
    writable: properties.ProtectSystem === "strict" ? [...made, ...named, ...bound] : null,
  };
}

/** Null: systemd does not run here. */
function propertiesOf(): Properties | null {
  const text = said(["systemctl", "show", "agentbus.service", `--property=${SHOWN.join(",")}`]);
  if (text === "") return null;
  const value = (name: string): string => new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1] ?? "";
  return Object.fromEntries(SHOWN.map((name) => [name, value(name)])) as Properties;
}

/** The place it has in the service: `SOURCE:TARGET:OPTIONS`. */
function targetOf(bind: string): string {
  const [source = "", target] = bind.replace(/^-/, "").split(":");
  return target || source;
}

function gidOf(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  return Number(said(["getent", "group", group]).split(":")[2] || Number.NaN);
}

function wordsOf(text = ""): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

function numbersIn(text: string): number[] {
  return wordsOf(text).map(Number);
}

/** What a program says that ends well; "" of every other, and of one that is not there. */
function said(argv: readonly string[]): string {
  if (Bun.which(argv[0] ?? "") === null) return "";
  const { ok, said: text } = callSystem(argv);
  return ok ? text : "";
}
