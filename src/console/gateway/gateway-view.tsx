import { useEffect, useMemo } from "react";
import type { ReactNode } from "react";
import { useHome } from "../home-context.ts";
import { Audit } from "./audit.tsx";
import { Connections } from "./connections.tsx";
import { Devices } from "./devices.tsx";
import { Log } from "./log.tsx";
import { Overview } from "./overview.tsx";
import { watchStats } from "./samples.ts";
import { Plugins } from "./plugins.tsx";
import { Skills } from "./skills.tsx";
import { Tokens } from "./tokens.tsx";
import { Tools } from "./tools.tsx";
import { Usage } from "./usage.tsx";

interface Seen {
  readonly code: string | null;
  readonly watch: ReturnType<typeof watchStats>;
}

interface Tab {
  readonly name: string;
  readonly title: string;
  readonly scope: string;
  readonly view: (seen: Seen) => ReactNode;
}

const TABS: readonly Tab[] = [
  {
    name: "overview",
    title: "Overview",
    scope: "system.read",
    view: ({ watch }) => <Overview watch={watch} />,
  },
  { name: "connections", title: "Connections", scope: "clients.manage", view: () => <Connections /> },
  { name: "devices", title: "Devices", scope: "devices.manage", view: ({ code }) => <Devices code={code} /> },
  { name: "tokens", title: "Tokens", scope: "admin", view: () => <Tokens /> },
  { name: "tools", title: "Tools", scope: "chat.read", view: () => <Tools /> },
  { name: "skills", title: "Skills", scope: "chat.read", view: () => <Skills /> },
  { name: "plugins", title: "Plug-ins", scope: "admin", view: () => <Plugins /> },
  { name: "usage", title: "Usage", scope: "chat.read", view: () => <Usage /> },
  { name: "log", title: "Log", scope: "admin", view: () => <Log /> },
  { name: "audit", title: "Audit", scope: "admin", view: () => <Audit /> },
];

interface GatewayViewProps {
  readonly tab: string;
  /** Of a device that asks to be let in, where a QR code led here. */
  readonly code: string | null;
}

/** What an operator looks after; only what their scopes let them see. */
export default function GatewayView({ tab, code }: GatewayViewProps) {
  const { client, may } = useHome();
  const tabs = TABS.filter(({ scope }) => may(scope));
  const shown = tabs.find(({ name }) => name === tab) ?? tabs[0];
  const watch = useMemo(() => watchStats(client), [client]);
  const reads = may("system.read");
  useEffect(() => (reads ? watch.start() : undefined), [watch, reads]);
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
        {shown === undefined ? (
          <p className="hint">Your scopes show nothing of it.</p>
        ) : (
          shown.view({ code, watch })
        )}
      </div>
    </main>
  );
}
