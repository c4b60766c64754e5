import type { Proof, Target } from "./release-targets.ts";

const PROOFS: Readonly<Record<Proof, string>> = {
  suite: "all tests run against an executable built for it",
  emulated: "started, and a conversation held, under emulation (qemu-user); never on the hardware",
  parsed: "built, and its headers read; **never run**",
};

interface Notes {
  readonly version: string;
  readonly commit: string;
  readonly targets: readonly Target[];
  /** The changes of this version, as CHANGELOG.md tells them. */
  readonly changes: string;
  readonly signed: boolean;
}

/** What a release is published with: how each executable was looked at, what is not done, and what changed. */
export function notesOf({ version, commit, targets, changes, signed }: Notes): string {
  const has = (format: Target["format"]): boolean => targets.some((target) => target.format === format);
  const lines = [
    `# agentbus ${version}`,
    "",
    `Built from ${commit} with Bun ${Bun.version}; the same sources make the same bytes (docs/releases.md).`,
    signed
      ? "SHA256SUMS has the sum of every file here, SHA256SUMS.sig its Ed25519 signature; install.sh and agentbus upgrade check both."
      : "SHA256SUMS has the sum of every file here. It is **not signed**.",
    "",
    "| executable | how it was looked at |",
    "| --- | --- |",
    ...targets.map(({ name, proof }) => `| ${name} | ${PROOFS[proof]} |`),
    "",
  ];
  if (targets.some(({ name }) => name.endsWith("-musl"))) {
    lines.push("The musl executables need libstdc++ (Alpine: `apk add libstdc++`).", "");
  }
  if (has("macho")) {
    lines.push(
      "The macOS executables (macOS 13 and later) have a code signature of nobody's (ad hoc) and are not notarized: one that a browser",
      "fetched is refused until `xattr -d com.apple.quarantine agentbus`.",
      "",
    );
  }
  if (has("pe")) {
    lines.push("The Windows executables have no Authenticode signature: SmartScreen warns of them.", "");
  }
  return `${[...lines, "## Changes", "", changes.trim()].join("\n")}\n`;
}

/** The section of a version, else what is not released yet. */
export function changesOf(changelog: string, version: string): string {
  const sections = new Map(
    changelog
      .split(/^## /m)
      .slice(1)
      .map((text): [string, string] => {
        const end = text.indexOf("\n");
        return [/^\[([^\]]+)\]/.exec(text.slice(0, end))?.[1] ?? "", text.slice(end)];
      }),
  );
  return sections.get(version) ?? sections.get("Unreleased") ?? "";
}
