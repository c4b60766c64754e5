import type { Reach } from "./reach.ts";

/** What there is to say of a message that was chosen and is not in view yet. */
export function ReachNotice({ reach: { reached, again } }: { readonly reach: Reach }) {
  return (
    <div className="reach-notice" role="status">
      {reached === "looking" && <p>Looking for the message…</p>}
      {reached === "missing" && <p>The message is not here any more, or too far back.</p>}
      {reached === "failed" && (
        <p>
          The messages before these could not be fetched.{" "}
          <button type="button" className="quiet" onClick={again}>
            Try again
          </button>
        </p>
      )}
    </div>
  );
}
