/**
 * Whether a program that a test cannot do without is here, and `probe` (its arguments) ends well. Where it is missing the
 * test is skipped with a word on how to get it; with CI=true it is a failure.
 */
export function needs(command: string, apt_package: string, probe: readonly string[] = []): boolean {
  if (works(command, probe)) return true;
  const missing = `skipped: needs ${[command, ...probe].join(" ")}, apt-get install ${apt_package}`;
  if (Bun.env["CI"] === "true") throw new Error(missing);
  console.log(missing);
  return false;
}

function works(command: string, probe: readonly string[]): boolean {
  if (Bun.which(command) === null) return false;
  return (
    probe.length === 0 || Bun.spawnSync([command, ...probe], { stdout: "ignore", stderr: "ignore" }).success
  );
}
