interface Formula {
  readonly version: string;
  readonly description: string;
  /** Where releases are; below it `download/vVERSION/FILE`. */
  readonly base_url: string;
  /** The SHA-256 of each archive, by target. */
  readonly sums: ReadonlyMap<string, { readonly file: string; readonly sha256: string }>;
}

const SYSTEMS = [
  ["on_macos", "darwin"],
  ["on_linux", "linux"],
] as const;
const PROCESSORS = [
  ["on_arm", "arm64"],
  ["on_intel", "x64"],
] as const;

/** A formula for Homebrew: put it into a tap of your own. Systems that have no archive are left out. */
export function formulaOf({ version, description, base_url, sums }: Formula): string {
  const systems = SYSTEMS.flatMap(([system, name]) => {
    const processors = PROCESSORS.flatMap(([processor, arch]) => {
      const archive = sums.get(`${name}-${arch}`);
      if (archive === undefined) return [];
      return [
        `    ${processor} do`,
        `      url ${JSON.stringify(`${base_url}/download/v${version}/${archive.file}`)}`,
        `      sha256 ${JSON.stringify(archive.sha256)}`,
        "    end",
      ];
    });
    return processors.length === 0 ? [] : [`  ${system} do`, ...processors, "  end", ""];
  });
  return `${[
    "class Agentbus < Formula",
    `  desc ${JSON.stringify(description)}`,
    `  homepage ${JSON.stringify(base_url)}`,
    `  version ${JSON.stringify(version)}`,
    '  license "MIT"',
    "",
    ...systems,
    "  def install",
    '    bin.install "agentbus"',
    '    generate_completions_from_executable(bin/"agentbus", "completions")',
    "  end",
    "",
    "  test do",
    '    assert_match version.to_s, shell_output("#{bin}/agentbus version")',
    '    system bin/"agentbus", "demo"',
    "  end",
    "end",
  ].join("\n")}\n`;
}
