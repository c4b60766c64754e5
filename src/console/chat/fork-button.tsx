import type { ClientSession } from "../../client/session.ts";
import { useHome } from "../home-context.ts";
import { Icon } from "../icon.tsx";
import { fork } from "./session-actions.ts";

export function ForkButton({
  session,
  message_id,
}: {
  readonly session: ClientSession;
  readonly message_id: string;
}) {
  const { client, sessions, may } = useHome();
  if (!may("chat.write")) return null;
  return (
    <button
      type="button"
      className="quiet icon-only"
      aria-label="Fork from here"
      title="Fork from here"
      onClick={() => void fork(client, sessions, session.session_id, message_id).catch(() => undefined)}
    >
      <Icon name="fork" />
    </button>
  );
}
