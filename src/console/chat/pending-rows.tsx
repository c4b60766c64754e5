import type { ClientSession } from "../../client/session.ts";
import type { PendingMessage } from "../../client/state.ts";
import { sendAgain } from "./sending.ts";

interface PendingRowsProps {
  readonly session: ClientSession;
  readonly pending: readonly PendingMessage[];
}

/** Messages on their way: shown at once, and told apart until the gateway has them. */
export function PendingRows({ session, pending }: PendingRowsProps) {
  return pending.map(({ idempotency_key, message, status, error }) => (
    <article key={idempotency_key} className="message user pending" aria-label="Your message, on its way">
      {message !== "" && <div className="bubble">{message}</div>}
      {status === "waiting" ? (
        <p className="note">Sending…</p>
      ) : (
        <p className="note problem">
          Not sent: {error?.message ?? "it was refused"}
          <button
            type="button"
            className="quiet"
            onClick={() => sendAgain(session, message, idempotency_key)}
          >
            Try again
          </button>
          <button type="button" className="quiet" onClick={() => session.state.dismiss(idempotency_key)}>
            Discard
          </button>
        </p>
      )}
    </article>
  ));
}
