import { lazy, Suspense, useCallback, useEffect, useMemo, useState } from "react";
import type { Client } from "../client/client.ts";
import type { ClientState } from "../client/connection.ts";
import type { Hello } from "../client/methods.ts";
import { ChatView } from "./chat/chat-view.tsx";
import { Files } from "./files.ts";
import { Icon } from "./icon.tsx";
import { OfflineBanner } from "./offline-banner.tsx";
import { HomeContext } from "./home-context.ts";
import type { Route } from "./route.ts";
import { routes } from "./route.ts";
import { Sessions } from "./session-list.ts";
import { Sidebar } from "./sidebar.tsx";
import { useStore } from "./store.ts";

/** Charts and tables are for few: they come when somebody looks. */
const GatewayView = lazy(() => import("./gateway/gateway-view.tsx"));

interface HomeProps {
  readonly client: Client;
  readonly hello: Hello;
  readonly link: ClientState;
}

/** Everything there is once one is in: the sessions beside what one looks at. */
export function Home({ client, hello, link }: HomeProps) {
  const route = useStore(routes);
  const sessions = useMemo(() => new Sessions(client), [client]);
  useEffect(() => sessions.start(), [sessions]);
  const scopes = hello.auth_info.scopes;
  const may = useMemo(() => (scope: string) => scopes.includes(scope) || scopes.includes("admin"), [scopes]);
  const { user, method } = hello.auth_info;
  const files = useMemo(() => new Files(client), [client]);
  const home = useMemo(
    () => ({ client, sessions, files, may, user, method }),
    [client, sessions, files, may, user, method],
  );
  // Whoever chose something in the drawer wants to see it: it is open where it was opened.
  const [opened, setOpened] = useState<Route | null>(null);
  const drawer = opened === route;
  const close = useCallback(() => setOpened(null), []);
  useEffect(() => {
    if (!drawer) return undefined;
    const onKey = ({ key }: KeyboardEvent): void => void (key === "Escape" && close());
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [drawer, close]);

  return (
    <HomeContext value={home}>
      <div className={drawer ? "home drawer-open" : "home"}>
        <a className="skip" href="#content" onClick={skip}>
          Skip to the content
        </a>
        <Sidebar route={route} onClose={close} />
        <div className="scrim" aria-hidden="true" onClick={close} />
        <div className="stage" id="content" tabIndex={-1}>
          <OfflineBanner link={link} />
          <button
            type="button"
            className="quiet icon-only drawer-button"
            aria-label="Sessions"
            aria-expanded={drawer}
            onClick={() => setOpened(route)}
          >
            <Icon name="menu" />
          </button>
          {route.view === "gateway" ? (
            <Suspense fallback={<main className="gateway" aria-busy="true" />}>
              <GatewayView tab={route.tab} code={route.code} />
            </Suspense>
          ) : (
            <ChatView
              session_id={route.view === "session" ? route.session_id : null}
              target={route.view === "session" ? route.target : null}
            />
          )}
        </div>
      </div>
    </HomeContext>
  );
}

/** The part behind the # says where one is, so this link must not change it. */
function skip(event: React.MouseEvent): void {
  event.preventDefault();
  (
    document.querySelector<HTMLElement>("#message") ?? document.querySelector<HTMLElement>("#content")
  )?.focus();
}
