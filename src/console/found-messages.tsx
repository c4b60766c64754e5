import type { ReactNode } from "react";
import type { FoundMessage, MessageSearch } from "./message-search.ts";
import { messagePath, parse, routes } from "./route.ts";
import { useStore } from "./store.ts";
import { longTime, shortTime } from "./time.ts";

/** Messages with the words that are looked for, below the sessions with such a title. */
export function FoundMessages({ search }: { readonly search: MessageSearch }) {
  const { state, results, more, stale } = useStore(search.store);
  if (state === "none") return null;
  return (
    <section aria-label="In messages" aria-busy={state === "loading"}>
      <h2>In messages</h2>
      <ul>
        {results.map((found) => (
          <FoundLink key={found.message_id} found={found} />
        ))}
      </ul>
      <p className="empty" role="status">
        {state === "loading" && results.length === 0 && "Searching…"}
        {state === "ready" && results.length === 0 && "No message has all these words."}
        {state === "failed" && "The messages could not be searched."}
      </p>
      {state === "failed" && (
        <button type="button" className="quiet wide" onClick={() => search.again()}>
          Try again
        </button>
      )}
      {state === "ready" && stale && (
        <button type="button" className="quiet wide" onClick={() => search.again()}>
          There is more by now: search again
        </button>
      )}
      {state === "ready" && more && (
        <button type="button" className="quiet wide" onClick={() => search.more()}>
          More messages
        </button>
      )}
    </section>
  );
}

function FoundLink({ found }: { readonly found: FoundMessage }) {
  const { session_id, message_id, title, timestamp } = found;
  const path = messagePath(session_id, message_id);
  // An address that stays the same tells nobody that it was chosen again.
  const again = (): void => void (location.hash === path && routes.set(parse(path)));
  return (
    <li>
      <a className="row found" href={path} onClick={again}>
        <span className="title">{title === "" ? "Untitled" : title}</span>
        <time dateTime={new Date(timestamp).toISOString()} title={longTime(timestamp)}>
          {shortTime(timestamp)}
        </time>
        <span className="snippet">{marked(found)}</span>
      </a>
    </li>
  );
}

/** The snippet as text, what was found in it marked. */
function marked({ snippet, matches }: FoundMessage): ReactNode[] {
  const pieces: ReactNode[] = [];
  let end = 0;
  for (const { off, length } of matches) {
    pieces.push(snippet.slice(end, off), <mark key={off}>{snippet.slice(off, off + length)}</mark>);
    end = off + length;
  }
  pieces.push(snippet.slice(end));
  return pieces;
}
