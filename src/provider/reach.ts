import { connect } from "node:net";

/** A TCP connection that is closed as soon as it is there: whether a server can be reached at all. */
export interface Reach {
  readonly connected: boolean;
  close(): void;
}

/** Never throws; a failure to connect leaves `connected` false. */
export function openReach(url: URL): Reach {
  let connected = false;
  const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
  const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ""), port }, () => {
    connected = true;
    socket.destroy();
  });
  // A refusal is the request's to report.
  socket.on("error", () => socket.destroy());
  return {
    get connected() {
      return connected;
    },
    close: () => void socket.destroy(),
  };
}

/** Whether the environment may send `fetch` through a proxy. */
export function isProxied(environment: Readonly<Record<string, string | undefined>>): boolean {
  return ["http_proxy", "https_proxy", "all_proxy"].some(
    (name) => (environment[name] ?? environment[name.toUpperCase()] ?? "") !== "",
  );
}
