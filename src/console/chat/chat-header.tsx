import { useState } from "react";
import type { ClientSession } from "../../client/session.ts";
import type { SessionSnapshot } from "../../client/state.ts";
import { Dialog } from "../dialog.tsx";
import { useHome } from "../home-context.ts";
import type { MenuItem } from "../menu.tsx";
import { Menu } from "../menu.tsx";
import { exportSession } from "./export.ts";
import { erase, fork, nameByModel, rename } from "./session-actions.ts";

interface ChatHeaderProps {
  readonly session: ClientSession;
  readonly snapshot: SessionSnapshot;
}

export function ChatHeader({ session: { session_id }, snapshot }: ChatHeaderProps) {
  const { client, sessions, may } = useHome();
  const [asking, setAsking] = useState<"rename" | "delete" | null>(null);
  const [problem, setProblem] = useState("");
  const title = snapshot.session?.title ?? "";
  const attempt = (work: Promise<void>): void => {
    setProblem("");
    work.catch((error: unknown) => setProblem(error instanceof Error ? error.message : String(error)));
  };
  const items: MenuItem[] = [
    ...(may("chat.write")
      ? [
          { label: "Rename…", onChoose: () => setAsking("rename") },
          { label: "Let the model name it", onChoose: () => attempt(nameByModel(client, session_id)) },
          { label: "Fork", onChoose: () => attempt(fork(client, sessions, session_id)) },
        ]
      : []),
    { label: "Export as Markdown", onChoose: () => attempt(exportSession(client, session_id, "md")) },
    { label: "Export as JSON", onChoose: () => attempt(exportSession(client, session_id, "json")) },
    ...(may("sessions.manage")
      ? [{ label: "Delete…", danger: true, onChoose: () => setAsking("delete") }]
      : []),
  ];
  return (
    <header className="chat-header">
      <h1 title={title}>{title === "" ? "Untitled" : title}</h1>
      {snapshot.status === "catching_up" && <span className="note">Catching up…</span>}
      <p className="problem" role="alert">
        {problem}
      </p>
      <Menu label="Session" items={items} />
      {asking === "rename" && (
        <RenameDialog
          title={title}
          onRename={(next) => rename(client, session_id, next)}
          onClose={() => setAsking(null)}
        />
      )}
      {asking === "delete" && (
        <Dialog
          title="Delete this session?"
          action="Delete"
          danger
          onConfirm={() => erase(client, sessions, session_id)}
          onClose={() => setAsking(null)}
        >
          <p>“{title}” is erased for good, for everybody it is shared with.</p>
        </Dialog>
      )}
    </header>
  );
}

interface RenameDialogProps {
  readonly title: string;
  readonly onRename: (title: string) => Promise<void>;
  readonly onClose: () => void;
}

function RenameDialog({ title, onRename, onClose }: RenameDialogProps) {
  const [next, setNext] = useState(title);
  return (
    <Dialog title="Rename session" action="Rename" onConfirm={() => onRename(next.trim())} onClose={onClose}>
      <label className="field">
        <span>Title</span>
        <input
          type="text"
          value={next}
          maxLength={200}
          autoFocus
          onFocus={({ target }) => target.select()}
          onChange={({ target }) => setNext(target.value)}
        />
      </label>
    </Dialog>
  );
}
