import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What bun.lock says of one package. */
export interface Locked {
  readonly name: string;
  readonly version: string;
  /** As in package managers: sha512- and base64. */
  readonly integrity: string;
}

/** Every package of bun.lock, by `name@version`. */
export function readLock(root: string): ReadonlyMap<string, Locked> {
  const { packages } = Bun.JSON5.parse(readFileSync(join(root, "bun.lock"), "utf8")) as {
    packages: Record<string, readonly unknown[]>;
  };
  const locked = Object.values(packages).flatMap(([id, ...rest]) => {
    const integrity = rest.find((each) => typeof each === "string" && each.startsWith("sha512-"));
    if (typeof id !== "string" || typeof integrity !== "string") return [];
    const at = id.lastIndexOf("@");
    return [[id, { name: id.slice(0, at), version: id.slice(at + 1), integrity }] as const];
  });
  return new Map(locked as [string, Locked][]);
}
