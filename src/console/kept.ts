/** What this browser keeps from one visit to the next: how it comes in, and what its owner prefers. */
export type KeptLogin =
  /** An auth session of the gateway's: it ends by itself, and signing out ends it at once. Never the token itself. */
  { readonly by: "session"; readonly session_token: string } | { readonly by: "device" };

const LOGIN = "agentbus.login";
const THEME = "agentbus.theme";

export type Theme = "system" | "light" | "dark";

export function keptLogin(): KeptLogin | null {
  const text = read(LOGIN);
  if (text === null) return null;
  if (text === "device") return { by: "device" };
  return { by: "session", session_token: text };
}

export function keepLogin(login: KeptLogin | null): void {
  if (login === null) write(LOGIN, null);
  else write(LOGIN, login.by === "device" ? "device" : login.session_token);
}

/** Calls back when another tab signs in or out. */
export function onLoginElsewhere(changed: () => void): void {
  window.addEventListener("storage", ({ key }) => {
    if (key === LOGIN || key === null) changed();
  });
}

export function keptTheme(): Theme {
  const text = read(THEME);
  return text === "light" || text === "dark" ? text : "system";
}

export function keepTheme(theme: Theme): void {
  write(THEME, theme === "system" ? null : theme);
}

/** Where storage is switched off the page works all the same, and forgets. */
function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Nothing to be done about it: the next visit starts anew.
  }
}
