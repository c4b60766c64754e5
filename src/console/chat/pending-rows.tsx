import type { ClientSession } from "../../client/session.ts";
import type { PendingMessage } from "../../client/state.ts";
import { sendAgain } from "./sending.ts";

interface PendingRowsProps {
  readonly session: ClientSession;
  readonly pending: readonly PendingMessage[];
}

/** Messages on their way: shown at once, and told apart until the gateway has them. */
export function PendingRows({ session, pending }: PendingRowsProps) {
  return pending.map((each) => <PendingRow key={each.idempotency_key} session={session} pending={each} />);
}

function PendingRow({
  session,
  pending,
}: {
  readonly session: ClientSession;
  readonly pending: PendingMessage;
}) {
  const { idempotency_key, message, options, status, error } = pending;
  const files = options.attachments?.length ?? 0;
  return (
    <article className="message user pending" aria-label="Your message, on its way">
      {message !== "" && <div className="bubble">{message}</div>}
      {files > 0 && <p className="note">{files === 1 ? "with a file" : `with ${files} files`}</p>}
      {status === "waiting" ? (
        <p className="note">Sending…</p>
      ) : (
        <p className="note problem">
          Not sent: {error?.message ?? "it was refused"}
          <button type="button" className="quiet" onClick={() => sendAgain(session, pending)}>
            Try again
          </button>
          <button type="button" className="quiet" onClick={() => session.state.dismiss(idempotency_key)}>
            Discard
          </button>
        </p>
      )}
    </article>
  );
}
