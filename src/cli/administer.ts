import { ClientError } from "../client/error.ts";
import type { MethodName, ParamsFor, ResultFor } from "../client/methods.ts";
import { VERSION } from "../build.ts";
import type { Input } from "./args.ts";
import type { Config } from "./configuration.ts";
import type { Io } from "./io.ts";
import type { Target } from "./target.ts";
import { connectTo, findTarget } from "./target.ts";

/** One method on the running gateway. @throws ClientError, GatewayError */
export async function askGateway<M extends MethodName>(
  target: Target,
  method: M,
  params: ParamsFor<M>,
): Promise<ResultFor<M>> {
  const client = await connectTo(target);
  try {
    return await client.request(method, params);
  } finally {
    client.disconnect();
  }
}

/** The same or, where none runs on this machine, on its store. @throws ClientError, GatewayError */
export async function administer<M extends MethodName>(
  input: Input,
  io: Io,
  method: M,
  params: ParamsFor<M>,
): Promise<ResultFor<M>> {
  const target = findTarget(input, io);
  try {
    return await askGateway(target, method, params);
  } catch (error) {
    const none_runs = error instanceof ClientError && error.code === "UNREACHABLE" && target.config !== null;
    if (!none_runs) throw error;
    return (await onStore(target.config, method, params)) as ResultFor<M>;
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
