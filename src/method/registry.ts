import type { Static, TObject, TSchema } from "@sinclair/typebox";
import type { Asked, Caller, Dispatch, Outcome, RequestMark } from "../core/call.ts";
import type { IdempotencyRow } from "../core/operation.ts";
import { wellFormed } from "../core/text.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { MethodDefinition } from "../protocol/methods.ts";
import { validate } from "../protocol/schema.ts";
import { Audited } from "./audited.ts";
import { stopping } from "./draining.ts";
import { fingerprint, keyOf } from "./idempotency.ts";
import type { KeyedRequest } from "./idempotency.ts";
import { InFlight } from "./idempotency.ts";
import { OpenCall } from "./open-call.ts";
import { markOf, publicError } from "./request-mark.ts";
import type { RegistryDeps } from "./registry-deps.ts";
import { route } from "./routing.ts";
import { Turns } from "./turns.ts";

/** One request on its way through a handler. */
export interface Call {
  readonly caller: Caller;
  /** The user whose data it is about. */
  readonly user: string;
  /** What it is called, and what it causes hangs below. */
  readonly mark: RequestMark;
  /** Set when the request carries an idempotency key: the handler writes it with its effect (see append.ts). */
  readonly keyed: KeyedRequest | null;
  /** Set when the request goes into the audit trail. */
  readonly audited: Audited | null;
  /** Answers. The first answer counts, and it leaves at once. */
  ok(payload: unknown): void;
  /** As ok, with JSON text. */
  okText(text: string): void;
  fail(error: unknown): void;
  /** @throws GatewayError UNAUTHORIZED where what the caller came in with has ended meanwhile */
  requireLive(): void;
  /** The effect is in the journal's queue: the next request of the connection on this session may go on. */
  entered(): void;
}

/** A definition with what it does. Made by `handle`. */
export interface MethodHandler {
  readonly definition: MethodDefinition;
  /** Answers with what it returns or resolves to; with undefined it answers through the call. */
  readonly run: (params: never, call: Call) => unknown;
  /** Answers a repeated request from what was stored with the first one's effect. */
  readonly replay?: (prior: IdempotencyRow, params: never, call: Call) => unknown;
  /** Answers with what another node answered that has the session. */
  readonly relayed?: (payload: unknown, params: never, call: Call) => unknown;
}

type Answer<R> = R | Promise<R> | undefined | Promise<undefined> | Promise<R | undefined>;

/** Joins a definition and its handler, with the types of the definition. */
export function handle<P extends TObject, R extends TSchema>(
  definition: MethodDefinition<P, R>,
  run: (params: Static<P>, call: Call) => Answer<Static<R>>,
  replay?: (prior: IdempotencyRow, params: Static<P>, call: Call) => Answer<Static<R>>,
  relayed?: (payload: unknown, params: Static<P>, call: Call) => unknown,
): MethodHandler {
  return {
    definition,
    run,
    ...(replay !== undefined && { replay }),
    ...(relayed !== undefined && { relayed }),
  };
}

/** Longest a method may take before the caller is told TIMEOUT; run.wait has its own. */
const DEADLINE_MS = 65_000;

/** Every method of this gateway, by name and alias. */
export class Registry {
  readonly #byName = new Map<string, MethodHandler>();
  readonly #deps: RegistryDeps;
  readonly #flights = new InFlight();
  readonly #turns = new Turns();
  #definitions: readonly MethodDefinition[] | null = null;

  constructor(deps: RegistryDeps, handlers: readonly MethodHandler[]) {
    this.#deps = deps;
    for (const handler of handlers) this.add(handler);
  }

  /** @throws Error when the name is taken. */
  add(handler: MethodHandler): void {
    const { name, aliases = [] } = handler.definition;
    for (const each of [name, ...aliases]) {
      if (this.#byName.has(each)) throw new Error(`two methods are called ${each}`);
      this.#byName.set(each, handler);
    }
    this.#definitions = null;
  }

  /** Requests that are open are still answered. @throws Error when there is none of that name */
  remove(name: string): void {
    const handler = this.#byName.get(name);
    if (handler?.definition.name !== name) throw new Error(`no method is called ${name}`);
    for (const each of [name, ...(handler.definition.aliases ?? [])]) this.#byName.delete(each);
    this.#definitions = null;
  }

  get(name: string): MethodDefinition | undefined {
    return this.#byName.get(name)?.definition;
  }

  /** Definitions without their aliases, in the order they were added; the same list until one comes or goes. */
  definitions(): readonly MethodDefinition[] {
    this.#definitions ??= [...new Set(this.#byName.values())].map((handler) => handler.definition);
    return this.#definitions;
  }

  readonly dispatch: Dispatch = (caller, request, answer) => {
    const call = this.#call(caller, request, answer);
    try {
      const handler = this.#byName.get(request.method);
      if (handler === undefined) {
        throw new GatewayError(
          "NOT_FOUND",
          `no method "${request.method.slice(0, 64)}": system.describe lists them`,
          {
            details: { kind: "method" },
          },
        );
      }
      call.requireLive();
      const { definition } = handler;
      const isCounted = definition.mutates === true && caller.relayed === undefined;
      if (isCounted && this.#isTooFast(caller, call)) return;
      if (definition.audit !== undefined) {
        call.audited = new Audited(this.#deps.audit, this.#deps.clock, caller, definition);
      }
      if (definition.scope !== null && !caller.principal.scopes.has(definition.scope)) {
        throw new GatewayError("FORBIDDEN", `${definition.name} needs the scope ${definition.scope}`, {
          details: { kind: "scope", scope: definition.scope },
        });
      }
      if (definition.mutates === true && definition.name !== "chat.abort" && this.#deps.draining()) {
        throw stopping();
      }
      const params = validate(definition.params, request.params) as Record<string, unknown>;
      call.audited?.read(params);
      this.#admit(handler, params, call);
    } catch (error) {
      call.fail(error);
    }
  };

  /** Why nothing that is no method may change anything for this caller now; null: it may. */
  refuseChange(caller: Caller): GatewayError | null {
    return this.#deps.rates.count(caller)?.refused ?? (this.#deps.draining() ? stopping() : null);
  }

  /** Whether a request that changes something comes too soon: then it was answered. */
  #isTooFast(caller: Caller, call: OpenCall): boolean {
    const found = this.#deps.rates.count(caller);
    if (found === null) return false;
    call.fail(found.refused);
    if (found.over !== null) caller.connection?.close(found.over);
    return true;
  }

  /** Waits for the turn of the session and for the first use of the key, where there is either. */
  #admit(handler: MethodHandler, params: Record<string, unknown>, call: OpenCall): void {
    const { definition } = handler;
    const given = definition.idempotent === true ? keyOf(params) : null;
    const id = call.caller.relayed?.id;
    const key = given ?? id;
    if (key !== undefined) {
      const of_call = given === null ? ({ of_call: true } as const) : {};
      const print = fingerprint(definition, params);
      call.keyed = { user: call.user, key: wellFormed(key), fingerprint: print, ...of_call };
    }
    const turn = this.#turn(definition, params, call);
    if (turn === null && call.keyed === null) return this.#run(handler, params, call);
    void this.#later(handler, params, call, turn);
    return undefined;
  }

  async #later(
    handler: MethodHandler,
    params: unknown,
    call: OpenCall,
    turn: Promise<unknown> | null,
  ): Promise<void> {
    try {
      if (turn !== null) await turn;
      if (call.keyed === null) return this.#run(handler, params, call);
      const release = await this.#flights.enter(call.keyed);
      call.onAnswer(release);
      const prior = await this.#deps.store.idempotency(call.keyed.user, call.keyed.key);
      if (prior === null) return this.#run(handler, params, call);
      this.replay(handler, prior, params, call);
    } catch (error) {
      call.fail(error);
    }
    return undefined;
  }

  /** Answers a repeated request with the first success. */
  replay(handler: MethodHandler, prior: IdempotencyRow, params: unknown, call: Call): void {
    if (prior.fingerprint !== call.keyed?.fingerprint) {
      return call.fail(
        new GatewayError(
          "IDEMPOTENCY_MISMATCH",
          "this idempotency_key was used for another request: take a new one",
        ),
      );
    }
    const { definition } = handler;
    call.audited?.idle();
    this.#settle(
      () => handler.replay?.(prior, params as never, call) ?? JSON.parse(prior.answer),
      call,
      definition,
    );
    return undefined;
  }

  #run(handler: MethodHandler, params: unknown, call: OpenCall): void {
    call.onPrior = (prior) => this.replay(handler, prior, params, call);
    const here = (): void => this.#settle(() => handler.run(params as never, call), call, handler.definition);
    const relay = call.caller.relayed === undefined ? (this.#deps.relay?.() ?? null) : null;
    if (relay === null || handler.definition.mutates !== true) here();
    else void route(relay, handler, params, call, here);
    if (call.answered) return;
    const { clock } = this.#deps;
    const cancel = clock.after(DEADLINE_MS, () => {
      call.fail(new GatewayError("TIMEOUT", `${handler.definition.name} took too long; its outcome is open`));
    });
    call.onAnswer(cancel);
  }

  #settle(work: () => unknown, call: Call, { mutates = false }: MethodDefinition): void {
    const later = async (value: Promise<unknown>): Promise<void> => {
      try {
        const payload = await value;
        if (payload === undefined) return;
        // What was read is for nobody whose credential ended meanwhile; what was done is done.
        if (!mutates) call.requireLive();
        call.ok(payload);
      } catch (error) {
        call.fail(error);
      }
    };
    try {
      const value = work();
      if (value instanceof Promise) void later(value);
      else if (value !== undefined) call.ok(value);
    } catch (error) {
      call.fail(error);
    }
  }

  /** What the request has to wait for; null: nothing is before it. */
  #turn(
    definition: MethodDefinition,
    params: Record<string, unknown>,
    call: OpenCall,
  ): Promise<unknown> | null {
    const { connection } = call.caller;
    const id = params["session_id"];
    if (definition.mutates !== true || connection === null || typeof id !== "string") return null;
    // By whichever of its two names: one session has one order.
    const turn = this.#turns.take(connection, new Set([id, this.#deps.sessionOf?.(call.user, id) ?? id]));
    call.onEntered = turn.done;
    return turn.before;
  }

  #call(caller: Caller, request: Asked, answer: (outcome: Outcome) => void): OpenCall {
    const { tracing, isLive, clock, count } = this.#deps;
    const came = markOf(caller, request, clock);
    const name = this.get(request.method)?.name ?? "unknown";
    const traced = tracing?.request(name, caller, came) ?? null;
    const mark = traced === null ? came : { ...came, trace: traced.context };
    came.trace ??= mark.trace;
    return new OpenCall(caller, {
      answer,
      isLive,
      mark,
      count: (error) => {
        if (caller.relayed === undefined) count(error, caller);
        traced?.end(error);
      },
      publicError: (error) => publicError(this.#deps, { caller, mark, method: request.method }, error),
    });
  }
}

/** The store found the key taken by a request that was not seen before: answers from its row. */
export function answerFromPrior(call: Call, prior: IdempotencyRow): void {
  (call as OpenCall).onPrior(prior);
}
