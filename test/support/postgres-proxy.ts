import type { Socket } from "bun";

/** Stands between a client and a PostgreSQL server, and can break the connection at a given moment. */
export interface PostgresProxy extends Disposable {
  readonly port: number;
  /** At the next COMMIT: the server gets it and its answer does not come back, or it never gets there; `freezes` from then on. */
  cutCommit(how: "after" | "before", freezes?: boolean): void;
  /** The next COMMIT does not get there, and nothing else passes from then on: its transaction stays as it is. */
  holdCommit(): void;
  /** Bytes of neither side are passed on any more, and nobody is told. */
  freeze(): void;
}

interface Pair {
  client: Socket<Pair | null> | null;
  server: Socket<Pair> | null;
  /** What comes before the server is connected. */
  early: Buffer[];
  isMute: boolean;
}

export function postgresProxy(to: number): PostgresProxy {
  let cut: "after" | "before" | "hold" | null = null;
  let isFrozen = false;
  let freezesThen = false;
  const fromClient = (pair: Pair, data: Buffer): void => {
    if (isFrozen) return;
    // A simple query of its own: Q, length, text, 0.
    if (cut !== null && data.includes("COMMIT\0")) {
      const how = cut;
      cut = null;
      if (how === "hold") return void (isFrozen = true);
      pair.isMute = true;
      isFrozen = freezesThen;
      if (how === "before") return end(pair);
      pair.server?.write(data);
      // Its answer is the sign that it was carried out.
      return undefined;
    }
    if (pair.server === null) pair.early.push(Buffer.from(data));
    else pair.server.write(data);
    return undefined;
  };
  const fromServer = (pair: Pair, data: Buffer): void => {
    if (isFrozen && !pair.isMute) return;
    if (pair.isMute) end(pair);
    else pair.client?.write(data);
  };
  const listener = Bun.listen<Pair | null>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(client) {
        const pair: Pair = { client, server: null, early: [], isMute: false };
        client.data = pair;
        void Bun.connect<Pair>({
          hostname: "127.0.0.1",
          port: to,
          data: pair,
          socket: {
            open(server) {
              pair.server = server;
              for (const data of pair.early.splice(0)) server.write(data);
            },
            data: (server, data) => fromServer(server.data, data),
            close: (server) => void server.data.client?.end(),
            connectError: () => void client.end(),
          },
        }).catch(() => client.end());
      },
      data(client, data) {
        if (client.data !== null) fromClient(client.data, data);
      },
      close: (client) => void client.data?.server?.end(),
    },
  });
  return {
    port: listener.port,
    cutCommit: (how, freezes = false) => {
      cut = how;
      freezesThen = freezes;
    },
    holdCommit: () => {
      cut = "hold";
    },
    freeze: () => {
      isFrozen = true;
    },
    [Symbol.dispose]: () => listener.stop(true),
  };
}

function end({ client, server }: Pair): void {
  client?.terminate();
  server?.terminate();
}
