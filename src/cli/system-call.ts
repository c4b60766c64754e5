import { CommandError } from "./exit.ts";

/** What a program of the system said and how it ended. */
export interface Called {
  readonly ok: boolean;
  /** Both streams, one after the other. */
  readonly said: string;
}

/** Runs a program to its end. @throws CommandError where it is not there */
export function callSystem(argv: readonly string[]): Called {
  const [program = ""] = argv;
  if (Bun.which(program) === null) throw new CommandError(`${program} is not on this machine`);
  const { success, stdout, stderr } = Bun.spawnSync([...argv], { stdin: "ignore" });
  return { ok: success, said: `${stdout.toString()}${stderr.toString()}`.trim() };
}

/** The same where nothing but success will do. @throws CommandError with what it said */
export function mustCall(argv: readonly string[]): string {
  const { ok, said } = callSystem(argv);
  if (ok) return said;
  throw new CommandError(`${argv.join(" ")} failed${said === "" ? "" : `: ${said}`}`);
}
