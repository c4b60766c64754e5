import type { KeptMessage, OutboxStorage } from "../client/kept.ts";

/** What this browser keeps from one visit to the next: how it comes in, and what its owner prefers. */
export type KeptLogin =
  /** An auth session of the gateway's: it ends by itself, and signing out ends it at once. Never the token itself. */
  { readonly by: "session"; readonly session_token: string } | { readonly by: "device" };

const LOGIN = "agentbus.login";
const USER = "agentbus.user";
const THEME = "agentbus.theme";
const OUTBOX = "agentbus.outbox";
/** Messages of one user that wait for a gateway; a browser has room for some MB. */
const OUTBOX_MOST = 200;

export type Theme = "system" | "light" | "dark";

export function keptLogin(): KeptLogin | null {
  const text = read(LOGIN);
  if (text === null) return null;
  if (text === "device") return { by: "device" };
  return { by: "session", session_token: text };
}

export function keepLogin(login: KeptLogin | null): void {
  if (login === null) {
    write(LOGIN, null);
    write(USER, null);
  } else write(LOGIN, login.by === "device" ? "device" : login.session_token);
}

/** Who the login is of: kept before the login, so that whoever is told of that one knows. */
export function keepUser(user: string): void {
  write(USER, user);
}

export function keptUser(): string | null {
  return read(USER);
}

/** What one has typed and the gateway has not taken: of a user each, an entry each, so that tabs do not write over one another. */
export function outboxOf(user: string): OutboxStorage {
  const prefix = outboxPrefix(user);
  return {
    load: () => keysOf(prefix).flatMap((key) => messageOf(read(key))),
    put(message) {
      if (keysOf(prefix).length < OUTBOX_MOST)
        write(prefix + message.idempotency_key, JSON.stringify(message));
    },
    remove: (idempotency_key) => write(prefix + idempotency_key, null),
  };
}

export function clearOutbox(user: string): void {
  for (const key of keysOf(outboxPrefix(user))) write(key, null);
}

function outboxPrefix(user: string): string {
  return `${OUTBOX}/${encodeURIComponent(user)}/`;
}

function keysOf(prefix: string): string[] {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  } catch {
    return [];
  }
}

function messageOf(text: string | null): KeptMessage[] {
  try {
    const message = JSON.parse(text ?? "null") as KeptMessage | null;
    return typeof message?.idempotency_key === "string" ? [message] : [];
  } catch {
    return [];
  }
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
