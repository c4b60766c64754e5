import type { Connection, Connections } from "../core/connections.ts";
import type { OtherNodes } from "../core/other-nodes.ts";
import { clientDisconnect, clientList } from "../protocol/api/system.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { ParamsOf } from "../protocol/methods.ts";
import type { MethodDeps } from "./deps.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

type ClientView = ReturnType<typeof clientView>;

/** Who is connected, at whichever node. */
export function clientMethods({
  connections,
  nodes,
}: Pick<MethodDeps, "connections" | "nodes">): MethodHandler[] {
  const own = (): ClientView[] => [...connections.all()].map(clientView);
  nodes.on("clients", own);
  nodes.on<ParamsOf<typeof clientDisconnect>>("disconnect", (params) => disconnect(connections, params));
  return [
    handle(clientList, async () => {
      const asking = nodes.ask<ClientView[]>("clients", null);
      const here = own();
      const { answers, isWhole } = await asking;
      const clients = [
        ...here.map((client) => at(nodes, client)),
        ...answers.flatMap(({ node, body }) => body.map((client) => ({ ...client, node }))),
      ];
      return { clients, ...(!isWhole && { incomplete: true }) };
    }),
    handle(clientDisconnect, async (params) => {
      if (disconnect(connections, params)) return { disconnected: true };
      const { answers, isWhole } = await nodes.ask<boolean>("disconnect", params);
      const disconnected = answers.some(({ body }) => body);
      return { disconnected, ...(!disconnected && !isWhole && { incomplete: true }) };
    }),
  ];
}

function disconnect(
  connections: Connections,
  { connection_id, reason = "disconnected by an operator" }: ParamsOf<typeof clientDisconnect>,
): boolean {
  const connection = connections.get(connection_id);
  connection?.close(new GatewayError("FORBIDDEN", reason));
  return connection !== undefined;
}

/** With the name of this node, where there may be others. */
export function at<T extends object>({ name }: OtherNodes, what: T): T & { readonly node?: string } {
  return name === null ? what : { ...what, node: name };
}

/** A connection as `client.list` tells it. */
export function clientView(connection: Connection) {
  return {
    connection_id: connection.id,
    client_id: connection.client_id,
    client_name: connection.client_name,
    version: connection.version,
    platform: connection.platform,
    capabilities: [...connection.capabilities],
    user: connection.principal?.user ?? "",
    transport: connection.transport,
    remote: connection.remote,
    state: connection.state,
    connected_at: connection.connected_at,
    last_activity: connection.last_activity,
  };
}
