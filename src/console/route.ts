import { createStore } from "./store.ts";

/** Where one is: behind the # of the address, which never reaches a server. Nothing secret is in it. */
export type Route =
  | { readonly view: "new" }
  | { readonly view: "session"; readonly session_id: string; readonly target: Target | null }
  | { readonly view: "gateway"; readonly tab: string; readonly code: string | null };

/** The message that was chosen: another object each time it is. */
export interface Target {
  readonly message_id: string;
}

const routes = createStore<Route>(parse(location.hash));
window.addEventListener("hashchange", () => routes.set(parse(location.hash)));

export { routes };

/** `#pair=CODE` is what the QR code of a device that asks to be let in leads to. */
export function parse(hash: string): Route {
  const code = /^#pair=([A-Za-z0-9-]{1,32})$/.exec(hash)?.[1];
  if (code !== undefined) return { view: "gateway", tab: "devices", code };
  const [, session = "", message] = /^#\/session\/([^/?]+)(?:\/([^/?]+))?$/.exec(hash) ?? [];
  if (session !== "") {
    const target = message === undefined ? null : { message_id: decoded(message) };
    return { view: "session", session_id: decoded(session), target };
  }
  const [, view, rest = ""] = /^#\/(gateway)\/([^/?]*)$/.exec(hash) ?? [];
  if (view === "gateway") return { view, tab: decoded(rest), code: null };
  return { view: "new" };
}

export function sessionPath(session_id: string): string {
  return `#/session/${encodeURIComponent(session_id)}`;
}

/** Leads to a message of it. */
export function messagePath(session_id: string, message_id: string): string {
  return `${sessionPath(session_id)}/${encodeURIComponent(message_id)}`;
}

export function go(hash: string): void {
  location.hash = hash;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
