import { ClientError } from "../client/error.ts";
import { VERSION } from "./about.ts";
import type { Input } from "./args.ts";
import type { Config } from "./configuration.ts";
import type { Io } from "./io.ts";
import { connectTo, findTarget } from "./target.ts";

/** One method on the running gateway or, where none runs on this machine, on its store. @throws ClientError, GatewayError */
export async function administer(
  input: Input,
  io: Io,
  method: string,
  params: Record<string, unknown>,
): Promise<unknown> {
  const target = findTarget(input, io);
  try {
    const client = await connectTo(target);
    try {
      return await client.request(method, params);
    } finally {
      client.disconnect();
    }
  } catch (error) {
    const none_runs = error instanceof ClientError && error.code === "UNREACHABLE" && target.config !== null;
    if (!none_runs) throw error;
    return onStore(target.config, method, params);
  }
}

async function onStore(config: Config, method: string, params: Record<string, unknown>): Promise<unknown> {
  // Loaded here so that the commands of a client start without the gateway in them.
  const [{ openOffline }, { createLogger }] = await Promise.all([
    import("../offline.ts"),
    import("../log.ts"),
  ]);
  // What goes wrong is told in one line, by whoever called.
  const log = createLogger({ ...config.log, level: "silent" });
  const store = await openOffline(config, log, VERSION);
  try {
    return await store.dispatch(method, params);
  } finally {
    await store.close();
  }
}
