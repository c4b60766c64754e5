import type { Connections } from "./connections.ts";
import type { OtherNodes } from "./other-nodes.ts";
import type { Directory, SessionRef } from "./session.ts";

export interface AttendedOptions {
  readonly connections: Connections;
  readonly directory: Directory;
  readonly nodes: OtherNodes;
}

/** Whether somebody is connected, at whichever node, who could allow a call of the session. */
export function attendance({
  connections,
  directory,
  nodes,
}: AttendedOptions): (session: SessionRef) => Promise<boolean> {
  nodes.on<SessionRef>("attended", (session) => attended(connections, directory, session));
  return async (session) => {
    if (attended(connections, directory, session)) return true;
    const { answers } = await nodes.ask<boolean>("attended", session);
    return answers.some(({ body }) => body);
  };
}

function attended(connections: Connections, directory: Directory, session: SessionRef): boolean {
  for (const { principal } of connections.all()) {
    if (principal?.scopes.has("tools.approve") !== true) continue;
    const role = directory.roleOf(session, principal.user);
    if (role === "owner" || role === "editor") return true;
  }
  return false;
}
