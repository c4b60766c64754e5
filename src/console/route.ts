import { createStore } from "./store.ts";

/** Where one is: behind the # of the address, which never reaches a server. Nothing secret is in it. */
export type Route =
  | { readonly view: "new" }
  | { readonly view: "session"; readonly session_id: string }
  | { readonly view: "gateway"; readonly tab: string; readonly code: string | null };

const routes = createStore<Route>(parse(location.hash));
window.addEventListener("hashchange", () => routes.set(parse(location.hash)));

export { routes };

/** `#pair=CODE` is what the QR code of a device that asks to be let in leads to. */
export function parse(hash: string): Route {
  const code = /^#pair=([A-Za-z0-9-]{1,32})$/.exec(hash)?.[1];
  if (code !== undefined) return { view: "gateway", tab: "devices", code };
  const [, view, rest = ""] = /^#\/(session|gateway)\/([^/?]*)$/.exec(hash) ?? [];
  if (view === "session" && rest !== "") return { view, session_id: decoded(rest) };
  if (view === "gateway") return { view, tab: decoded(rest), code: null };
  return { view: "new" };
}

export function sessionPath(session_id: string): string {
  return `#/session/${encodeURIComponent(session_id)}`;
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
