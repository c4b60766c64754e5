import { useEffect, useMemo, useRef, useState } from "react";
import { FoundMessages } from "./found-messages.tsx";
import { useHome } from "./home-context.ts";
import { Icon } from "./icon.tsx";
import { Logo } from "./logo.tsx";
import { MessageSearch } from "./message-search.ts";
import type { Route } from "./route.ts";
import { sessionPath } from "./route.ts";
import type { ListedSession } from "./session-list.ts";
import { useStore } from "./store.ts";
import { ageOf, longTime, shortTime } from "./time.ts";
import { UserMenu } from "./user-menu.tsx";

const TYPING_MS = 200;

export function Sidebar({ route, onClose }: { readonly route: Route; readonly onClose: () => void }) {
  const { may } = useHome();
  return (
    <aside className="sidebar">
      <header>
        <a className="brand" href="#/" aria-label="agentbus">
          <Logo />
          <span>agentbus</span>
        </a>
        <button type="button" className="quiet icon-only drawer-close" aria-label="Close" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {may("chat.write") && (
        <a className="button new-session" href="#/" aria-current={route.view === "new" ? "page" : undefined}>
          <Icon name="plus" />
          New session
        </a>
      )}
      <SessionNav current={route.view === "session" ? route.session_id : null} />
      <footer>
        <a
          className="row"
          href="#/gateway/overview"
          aria-current={route.view === "gateway" ? "page" : undefined}
        >
          <Icon name="chart" />
          Gateway
        </a>
        <UserMenu />
      </footer>
    </aside>
  );
}

function SessionNav({ current }: { readonly current: string | null }) {
  const { client, sessions } = useHome();
  const messages = useMemo(() => new MessageSearch(client), [client]);
  const list = useStore(sessions.store);
  const [now] = useState(() => Date.now());
  const groups = Map.groupBy(list.sessions, ({ updated_at }) => ageOf(updated_at, now));
  return (
    <>
      <SearchField messages={messages} />
      <nav aria-label="Sessions">
        {[...groups].map(([age, members]) => (
          <section key={age} aria-label={age}>
            <h2>{age}</h2>
            <ul>
              {members.map((session) => (
                <SessionLink
                  key={session.session_id}
                  session={session}
                  current={session.session_id === current}
                />
              ))}
            </ul>
          </section>
        ))}
        {list.state === "ready" && list.sessions.length === 0 && (
          <p className="empty">{list.query.trim() === "" ? "No sessions yet." : "Nothing has that title."}</p>
        )}
        {list.more && (
          <button type="button" className="quiet wide" onClick={() => void sessions.loadMore()}>
            Show more
          </button>
        )}
        <FoundMessages search={messages} />
      </nav>
    </>
  );
}

function SearchField({ messages }: { readonly messages: MessageSearch }) {
  const { sessions } = useHome();
  const [query, setQuery] = useState("");
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const timer = setTimeout(() => {
      if (query !== sessions.store.get().query) sessions.search(query);
      messages.search(query);
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [query, sessions, messages]);
  useEffect(() => {
    const unheard = messages.follow();
    return () => {
      unheard();
      messages.stop();
    };
  }, [messages]);
  useEffect(() => {
    const toField = (event: KeyboardEvent): void => {
      if (event.key !== "k" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      field.current?.focus();
    };
    window.addEventListener("keydown", toField);
    return () => window.removeEventListener("keydown", toField);
  }, []);
  return (
    <label className="search">
      <Icon name="search" />
      <span className="unseen">Search titles and messages</span>
      <input
        ref={field}
        type="search"
        placeholder="Search"
        title="Ctrl K"
        value={query}
        onChange={({ target }) => {
          messages.stop(target.value);
          setQuery(target.value);
        }}
      />
    </label>
  );
}

function SessionLink({ session, current }: { readonly session: ListedSession; readonly current: boolean }) {
  const { session_id, title, updated_at, active_run_id, approvals = 0 } = session;
  return (
    <li>
      <a className="row session" href={sessionPath(session_id)} aria-current={current ? "page" : undefined}>
        <span className="title">{title === "" ? "Untitled" : title}</span>
        {approvals > 0 && <span className="badge">asks</span>}
        {approvals === 0 && active_run_id !== undefined && (
          <span className="pulse" role="img" aria-label="answering" />
        )}
        <time dateTime={new Date(updated_at).toISOString()} title={longTime(updated_at)}>
          {shortTime(updated_at)}
        </time>
      </a>
    </li>
  );
}
