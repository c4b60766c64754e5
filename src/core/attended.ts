import type { Connections } from "./connections.ts";
import type { Directory, SessionRef } from "./session.ts";

/** Whether somebody is connected who could allow a call of the session. */
export function attended(connections: Connections, directory: Directory, session: SessionRef): boolean {
  for (const { principal } of connections.all()) {
    if (principal?.scopes.has("tools.approve") !== true) continue;
    const role = directory.roleOf(session, principal.user);
    if (role === "owner" || role === "editor") return true;
  }
  return false;
}
