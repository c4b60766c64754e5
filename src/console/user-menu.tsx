import { signOut } from "./door.ts";
import { useHome } from "./home-context.ts";
import type { Theme } from "./kept.ts";
import { Menu } from "./menu.tsx";
import { useStore } from "./store.ts";
import { choose, theme } from "./theme.ts";

const THEMES: readonly [Theme, string][] = [
  ["system", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
];

export function UserMenu() {
  const { user, method } = useHome();
  const chosen = useStore(theme);
  return (
    <Menu
      label={user}
      className="row"
      above
      items={[
        ...THEMES.map(([value, label]) => ({
          label,
          checked: chosen === value,
          onChoose: () => choose(value),
        })),
        { label: "API documentation", href: "/docs" },
        ...(method === "none" || method === "tailscale"
          ? []
          : [
              {
                label: method === "device" ? "Forget this browser" : "Sign out",
                onChoose: () => void signOut(),
              },
            ]),
      ]}
    >
      <span className="avatar" aria-hidden="true">
        {user.slice(0, 1).toUpperCase()}
      </span>
      <span className="title">{user}</span>
    </Menu>
  );
}
