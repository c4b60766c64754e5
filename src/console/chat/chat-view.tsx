import { useMemo, useState } from "react";
import { useHome } from "../home-context.ts";
import { useFramed } from "../framed.ts";
import type { Target } from "../route.ts";
import { go, sessionPath } from "../route.ts";
import { Announcer } from "./announcer.tsx";
import { ChatHeader } from "./chat-header.tsx";
import { Composer } from "./composer.tsx";
import { Transcript } from "./transcript.tsx";
import { Welcome } from "./welcome.tsx";

interface ChatViewProps {
  readonly session_id: string | null;
  /** A message of it to be brought into view. */
  readonly target: Target | null;
}

/** One session, or the place where a new one begins. */
export function ChatView({ session_id, target }: ChatViewProps) {
  const { client } = useHome();
  // A new session has its name before it exists: its first message makes it.
  const [fresh, setFresh] = useState(() => client.session());
  const session = useMemo(
    () => (session_id === null ? fresh : client.session(session_id)),
    [client, session_id, fresh],
  );
  if (session_id === null) {
    return (
      <main className="chat new">
        <Welcome />
        <Composer
          key={session.session_id}
          session={session}
          snapshot={null}
          onSent={() => {
            go(sessionPath(session.session_id));
            setFresh(client.session());
          }}
        />
      </main>
    );
  }
  return <Conversation key={session_id} session={session} target={target} />;
}

type Session = ReturnType<ReturnType<typeof useHome>["client"]["session"]>;

function Conversation({ session, target }: { readonly session: Session; readonly target: Target | null }) {
  const snapshot = useFramed(session.state);
  const { status, error } = snapshot;
  if (status === "absent" && snapshot.pending.length === 0) {
    return (
      <main className="chat">
        <Gone text="There is no such session, or it is not shared with you." />
      </main>
    );
  }
  if (status === "ended" && error !== null) {
    return (
      <main className="chat">
        <Gone text={error.code === "GONE" ? "This session was deleted." : error.message} />
      </main>
    );
  }
  return (
    <main className="chat" aria-busy={status === "loading"}>
      <ChatHeader session={session} snapshot={snapshot} />
      <Transcript session={session} snapshot={snapshot} target={target} />
      <Composer session={session} snapshot={snapshot} onSent={null} />
      <Announcer snapshot={snapshot} />
    </main>
  );
}

function Gone({ text }: { readonly text: string }) {
  return (
    <div className="gone">
      <p role="status">{text}</p>
      <a className="button" href="#/">
        New session
      </a>
    </div>
  );
}
