import type { Certificate } from "./certificate.ts";
import type { Config } from "./config.ts";
import type { Logger } from "./core/ports.ts";
import { listenersOf } from "./listeners.ts";
import { writeState } from "./state-file.ts";
import type { Tls } from "./tls.ts";
import type { HttpTransport } from "./transport/http.ts";

export interface Listening {
  /** Where the first listener is, e.g. http://127.0.0.1:18789 */
  readonly url: string;
  readonly urls: readonly string[];
  /** What it proves itself with; null: no TLS. */
  readonly certificate: Certificate | null;
}

/** Opens what is listened on, and keeps its certificate up to date. `ports` is told of the ports that were taken. */
export async function listen(
  http: HttpTransport,
  tls: Tls | null,
  ports: number[],
  config: Config,
  log: Logger,
  { version, executable }: { readonly version: string; readonly executable?: string | undefined },
): Promise<Listening> {
  const certificate = (await tls?.open()) ?? null;
  const urls: string[] = [];
  for (const { host, port, option } of listenersOf(config)) {
    const { url, port: taken } = await http.listen(host, port, option, certificate);
    ports.push(taken);
    urls.push(url);
  }
  const url = urls[0] ?? "";
  const state = { url, version, started_at: Date.now(), executable };
  writeState(config, state, certificate);
  tls?.watch((next) => {
    http.renew(next);
    try {
      writeState(config, state, next);
    } catch (error) {
      log.warn({ err: error }, "the commands on this machine do not know the new certificate");
    }
  });
  return { url, urls, certificate };
}
