import { useHome } from "../home-context.ts";
import { Devices } from "./devices.tsx";

interface Tab {
  readonly name: string;
  readonly title: string;
  readonly scope: string;
  readonly view: (code: string | null) => React.ReactNode;
}

const TABS: readonly Tab[] = [
  { name: "devices", title: "Devices", scope: "devices.manage", view: (code) => <Devices code={code} /> },
];

/** What an operator looks after; only what their scopes let them see. */
export function GatewayView({ tab, code }: { readonly tab: string; readonly code: string | null }) {
  const { may } = useHome();
  const tabs = TABS.filter(({ scope }) => may(scope));
  const shown = tabs.find(({ name }) => name === tab) ?? tabs[0];
  return (
    <main className="gateway">
      <header className="chat-header">
        <h1>Gateway</h1>
      </header>
      <nav className="tabs" aria-label="Gateway">
        {tabs.map(({ name, title }) => (
          <a key={name} href={`#/gateway/${name}`} aria-current={name === shown?.name ? "page" : undefined}>
            {title}
          </a>
        ))}
      </nav>
      <div className="panel">
        {shown === undefined ? <p className="hint">Your scopes show nothing of it.</p> : shown.view(code)}
      </div>
    </main>
  );
}
