import type { EventRun } from "../protocol/entities.ts";
import type { AskingDeps } from "./asking.ts";
import type { BudgetBounds } from "./budget.ts";
import type { Histogram } from "./histogram.ts";
import type { Ledger } from "./ledger.ts";
import type { Logger, ModelRouter } from "./ports.ts";
import type { EndDeps } from "./run-end.ts";
import type { RunTimes } from "./run-times.ts";
import type { ToolDeps } from "./tool-round.ts";

/** What the configuration says of a run. A run keeps what counted when it was accepted. */
export interface RunSettings
  extends Pick<AskingDeps, "system_prompt">, Pick<ToolDeps, "approval_timeout_ms"> {
  readonly run_timeout_ms: number;
  /** Past about so many tokens a conversation is summed up; 0: never by itself. */
  readonly context_tokens: number;
  readonly budget: Omit<BudgetBounds, "clock" | "spending" | "user">;
}

/** What a run of this process works with. */
export interface RunnerDeps extends EndDeps, AskingDeps, ToolDeps, RunSettings {
  readonly router: ModelRouter;
  readonly log: Logger;
  readonly ledger: Ledger;
  readonly times: RunTimes;
  /** Takes the seconds from asking a model to the first of its answer. */
  readonly first_token: Histogram;
  /** Tokens a run used, once it ended. */
  readonly onEnded: (run: EventRun) => void;
  /** A run of that user fails because it reached the bound of an option. */
  readonly limited: (option: string, user: string) => void;
}
