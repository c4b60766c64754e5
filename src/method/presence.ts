import type { Connections } from "../core/connections.ts";
import { presenceList } from "../protocol/api/session.ts";
import { at } from "./client.ts";
import type { MethodDeps } from "./deps.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

type Watcher = ReturnType<typeof watchersOf>[number];

/** Who follows a session, at whichever node. */
export function presenceMethod({
  directory,
  connections,
  nodes,
}: Pick<MethodDeps, "directory" | "connections" | "nodes">): MethodHandler {
  nodes.on<string>("watchers", (session) => watchersOf(connections, session));
  return handle(presenceList, async (params, call) => {
    const session = await directory.find(call.user, params.session_id, "read");
    const asking = nodes.ask<Watcher[]>("watchers", session.id);
    const here = watchersOf(connections, session.id);
    const { answers, isWhole } = await asking;
    directory.require(session, call.user, "read");
    const watchers = [
      ...here.map((watcher) => at(nodes, watcher)),
      ...answers.flatMap(({ node, body }) => body.map((watcher) => ({ ...watcher, node }))),
    ];
    return { watchers, ...(!isWhole && { incomplete: true }) };
  });
}

function watchersOf(connections: Connections, session: string) {
  const watchers = [...connections.all()].filter(({ subscriptions }) => subscriptions.has(session));
  return watchers.map((each) => ({
    connection_id: each.id,
    client_id: each.client_id,
    client_name: each.client_name,
    user: each.principal?.user ?? "",
  }));
}
