import type { ClientSession } from "../../client/session.ts";
import { Icon } from "../icon.tsx";

export type OnBusy = "queue" | "steer";

interface BusyProps {
  readonly session: ClientSession;
  readonly queued: number;
  readonly on_busy: OnBusy;
  readonly onChange: (on_busy: OnBusy) => void;
}

const EXPLAINED: Readonly<Record<OnBusy, string>> = {
  queue: "What you write is answered after this answer",
  steer: "What you write reaches the model in the middle of its work, at its next step",
};

/** While an answer is written: stop it, or say what happens to what one writes meanwhile. */
export function Busy({ session, queued, on_busy, onChange }: BusyProps) {
  return (
    <div className="busy">
      <button type="button" onClick={() => void session.abort({ queued: "cancel" }).catch(() => undefined)}>
        <Icon name="stop" />
        Stop
      </button>
      {queued > 0 && <span className="note">{queued} waiting</span>}
      <div className="segments" role="radiogroup" aria-label="A message meanwhile">
        {(["queue", "steer"] as const).map((each) => (
          <label key={each} title={EXPLAINED[each]}>
            <input type="radio" name="on_busy" checked={on_busy === each} onChange={() => onChange(each)} />
            <span>{each === "queue" ? "Queue" : "Steer"}</span>
          </label>
        ))}
      </div>
    </div>
  );
}
