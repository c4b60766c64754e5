import type { Stats } from "../core/stats.ts";
import type { Family } from "./family.ts";
import { by, one } from "./family.ts";

export interface AutomationParts {
  readonly stats: Pick<
    Stats,
    "deliveries" | "moments" | "hook_calls" | "webhooks" | "owed_sessions" | "dead_letters"
  >;
}

/** What happens without anybody connected. */
export function automationFamilies({ stats }: AutomationParts): Family[] {
  return [
    by(
      "counter",
      "agentbus_webhook_deliveries",
      "Requests to receivers that were taken, and that failed; deliveries that were given up.",
      "outcome",
      Object.entries(stats.deliveries),
    ),
    by("gauge", "agentbus_webhooks", "Webhooks.", "state", Object.entries(stats.webhooks())),
    one(
      "gauge",
      "agentbus_webhook_dead_letters",
      "Deliveries that were given up and are kept, in the whole store.",
      stats.dead_letters(),
    ),
    one(
      "gauge",
      "agentbus_webhook_owed_sessions",
      "Sessions of which somebody is owed events.",
      stats.owed_sessions(),
    ),
    by(
      "counter",
      "agentbus_schedule_moments",
      "Moments of schedules, by what became of them.",
      "outcome",
      Object.entries(stats.moments),
    ),
    by("counter", "agentbus_hook_calls", "Deliveries to hooks.", "outcome", Object.entries(stats.hook_calls)),
  ];
}
