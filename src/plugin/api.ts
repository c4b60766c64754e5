import type { Static, TObject, TSchema } from "@sinclair/typebox";
import { Type } from "@sinclair/typebox";
import type { HookSet } from "../core/hook-set.ts";
import type { Happening } from "../core/observers.ts";
import type { Logger, ModelEvent, ModelRequest, Provider } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";

/**
 * What `import … from "agentbus/plugin"` is. `Type` writes schemas; a `GatewayError` that is thrown is an answer, any
 * other error is a fault of the plug-in.
 */
export { GatewayError, Type };
export type { Logger, ModelEvent, ModelRequest, Provider, Scope };

/** What every function of a plug-in is handed. */
export interface PluginContext {
  /** Aborted at the deadline, when nobody waits for the outcome any more, and when the plug-in is unloaded. */
  readonly signal: AbortSignal;
  /** Writes into the gateway's log, with the plug-in's name. */
  readonly log: Logger;
  readonly gateway: PluginGateway;
}

/** On whose behalf a plug-in uses the gateway. */
export interface PluginCaller {
  readonly user: string;
  /** What it may do; without it, what a person who chats may: `chat.read`, `chat.write`, `tools.approve`, `sessions.manage`. */
  readonly scopes?: readonly Scope[];
}

/** To whom a broadcast goes; every condition has to hold. */
export interface BroadcastFilter {
  readonly capability?: string;
  readonly user?: string;
  readonly client_id?: string;
  readonly scope?: Scope;
  readonly session_id?: string;
  readonly platform?: string;
}

/** The gateway, as a plug-in uses it. */
export interface PluginGateway {
  readonly name: string;
  readonly version: string;
  /**
   * Runs a method as `by`, such as `call("chat.inject", { session_id, role: "system", content }, { user: "ada" })`.
   * @throws GatewayError what the method answers
   */
  call(method: string, params: Readonly<Record<string, unknown>>, by: PluginCaller): Promise<unknown>;
  /**
   * A signal to every connection that passes the filter; answers how many.
   * @param event `notification`, or a name that begins with `app.`
   */
  broadcast(
    event: string,
    payload: Readonly<Record<string, unknown>>,
    filter?: BroadcastFilter,
  ): Promise<number>;
}

/** Of a method: who asked. */
export interface CallContext extends PluginContext {
  readonly user: string;
  readonly scopes: ReadonlySet<Scope>;
  readonly client_id: string;
}

/** A method, on the WebSocket, as `POST /api/v1/rpc/NAME` and in the docs, like the built-in ones. */
export interface PluginMethod<P extends TObject = TObject, R extends TSchema = TSchema> {
  /** What the caller needs; null: any credential will do. */
  readonly scope: Scope | null;
  /** One sentence for the docs. */
  readonly doc: string;
  /** Checked before `run`; fields it does not name are refused. */
  readonly params: P;
  /** Checked after `run`: what does not fit is a fault. */
  readonly result: R;
  /** It changes something: it counts against the caller's rate, and is refused while the gateway stops. */
  readonly mutates?: boolean;
  run(params: Static<P>, context: CallContext): Static<R> | Promise<Static<R>>;
}

/** Of a tool: for which run it was called. */
export interface ToolCallContext extends PluginContext {
  readonly session_id: string;
  readonly run_id: string;
}

/** A function the model may call, under `tools.policy` like every other. */
export interface PluginTool<P extends TObject = TObject> {
  /** What the model is told of it. */
  readonly description: string;
  /** Checked before `run`. */
  readonly parameters: P;
  /** Longest call, in milliseconds; without it `tools.timeout_secs` counts. */
  readonly timeout_ms?: number;
  /** What the model is told; of an error it is told the message. */
  run(args: Static<P>, context: ToolCallContext): string | Promise<string>;
}

/** Of a route: what stood for the `:names` of its path, and who asked. */
export interface RouteContext extends PluginContext {
  readonly params: Readonly<Record<string, string>>;
  /** Null on a route that is open. */
  readonly user: string | null;
  readonly scopes: ReadonlySet<Scope>;
  /** The client's address. */
  readonly remote: string;
}

/** Who may use a route: who has a scope, who has any credential (null), or everybody. */
export type RouteAccess = { readonly scope: Scope | null } | { readonly open: true };

/** A route below `/plugins/NAME`. */
export type PluginRoute = RouteAccess & {
  /** One sentence for the docs. */
  readonly doc: string;
  /**
   * The request has its whole body, at most `limits.body_bytes`, and no credential. Anything but a Response is
   * answered as JSON.
   */
  run(request: Request, context: RouteContext): unknown;
};

/** Something that happened, after it was committed. */
export type PluginEvent = Happening;

/** Events of one session come one after the other, in their order: the next when this has settled. */
export type PluginListener = (event: PluginEvent, context: PluginContext) => void | Promise<void>;

/** What comes before and after a run, a call of a tool and a message. None of them may take longer than `limits.hook_ms`. */
export type PluginHooks = {
  readonly [K in keyof HookSet]?: (
    subject: Parameters<NonNullable<HookSet[K]>>[0],
    context: PluginContext,
  ) => ReturnType<NonNullable<HookSet[K]>>;
};

/** What a plug-in is. Every part may be left out. */
export interface Plugin {
  /** `^[a-z][a-z0-9_-]{0,63}$`, unique in a gateway. */
  readonly name: string;
  readonly version?: string;
  /** One sentence on what it is for. */
  readonly description?: string;
  /** Runs it in a Worker, where what spins can be ended; it shares no memory with the gateway then. */
  readonly isolate?: boolean;
  /** By name: `namespace.verb`. */
  readonly methods?: Readonly<Record<string, PluginMethod>>;
  /** By name: `^[A-Za-z0-9_-]{1,64}$`. */
  readonly tools?: Readonly<Record<string, PluginTool>>;
  readonly providers?: readonly Provider[];
  /** By type of event; `*` for those that have no listener of their own. */
  readonly events?: Readonly<Record<string, PluginListener>>;
  /** By verb and path: `GET /forecast/:city` is `GET /plugins/NAME/forecast/:city`. */
  readonly routes?: Readonly<Record<string, PluginRoute>>;
  readonly hooks?: PluginHooks;
  /**
   * Called once, before anything else of it is. What it returns is called when the plug-in is unloaded. Of a reloaded
   * plug-in the new version is set up before the one it replaces is unloaded.
   */
  setup?(gateway: PluginGateway, context: PluginContext): SetUp | Promise<SetUp>;
}

// oxlint-disable-next-line typescript/no-invalid-void-type -- most have nothing to undo
export type SetUp = void | (() => void | Promise<void>);

/**
 * A plug-in, with the types of its schemas in its functions. The default export of its file.
 * @example
 * export default definePlugin({
 *   name: "dice",
 *   methods: {
 *     "dice.roll": {
 *       scope: "chat.read",
 *       doc: "Rolls a die.",
 *       params: Type.Object({ sides: Type.Integer({ minimum: 2 }) }),
 *       result: Type.Object({ rolled: Type.Integer() }),
 *       run: ({ sides }) => ({ rolled: 1 + Math.floor(Math.random() * sides) }),
 *     },
 *   },
 * });
 */
export function definePlugin<
  P extends Record<string, TObject> = Record<never, TObject>,
  R extends Record<string, TSchema> = Record<never, TSchema>,
  A extends Record<string, TObject> = Record<never, TObject>,
>(
  definition: Omit<Plugin, "methods" | "tools"> & {
    readonly methods?: { readonly [K in keyof P]: { readonly params: P[K] } } & {
      readonly [K in keyof R]: { readonly result: R[K] };
    } & { readonly [K in keyof P]: PluginMethod<P[K], R[K & keyof R]> };
    readonly tools?: { readonly [K in keyof A]: PluginTool<A[K]> };
  },
): Plugin {
  return definition;
}
