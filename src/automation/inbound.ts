import type { Change, HookView, InboundHooks, IssuedHook, Receive } from "../core/automation.ts";
import { newId } from "../core/id.ts";
import type { Mirror } from "../core/mirrors.ts";
import type { Maker } from "../core/maker.ts";
import { changedBy } from "../core/maker.ts";
import type { Principal } from "../core/principal.ts";
import type { Store } from "../core/store.ts";
import { hasPlaces, templateFault } from "../core/template.ts";
import type { UserChange } from "../core/users.ts";
import type { hookCreate, hookRotate, hookUpdate } from "../protocol/api/hook.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { ParamsOf } from "../protocol/methods.ts";
import type { InboundOptions } from "./inbound-receive.ts";
import { createReceiver, HEADERS } from "./inbound-receive.ts";
import { OwnedRecords, requireScopes, suspension, writing } from "./records.ts";
import type { Sealer } from "./sealed.ts";
import type { Verify } from "./signature.ts";
import { newSigningSecret, secretFault } from "./signature.ts";
import type { StoredHook } from "./stored-hook.ts";
import { viewHook } from "./stored-hook.ts";

export const HOOKS = "hook";

export interface InboundBook extends InboundHooks {
  readonly receive: Receive;
  load(store: Store): Promise<void>;
  mirrors(store: Store): Mirror[];
  forget(user: string): UserChange;
}

/** The hooks of this gateway, and what comes in by them. */
export function createInbound(options: InboundOptions): InboundBook {
  const { clock, limits, sealer, makers } = options;
  const per_user = (): number => limits.hooks_per_user;
  const hooks = new OwnedRecords<StoredHook>({ collection: HOOKS, noun: "hook", per_user });
  const names = new HookNames();
  const viewNow = (hook: StoredHook): HookView =>
    Object.assign(viewHook(hook, clock.now()), suspension(makers, hook));

  function create(by: Principal, params: ParamsOf<typeof hookCreate>): Change<IssuedHook> {
    const { user } = by;
    hooks.requireRoom(user);
    const { name, verify = "token" } = params;
    const given = params.secret;
    const secret = secretOf(verify, given);
    check(params);
    if (names.of(name).length > 0) throw taken(name);
    const hook = made(by, params, { made_by: makers.of(by), verify, secret, sealer, now: clock.now() });
    const { id } = hook;
    names.add(name, id);
    const change = hooks.put(hook, () => ({ ...(given === undefined && { secret }), ...viewNow(hook) }));
    return { ...change, undo: () => (change.undo(), names.remove(name, id)) };
  }

  function update(by: Principal, params: ParamsOf<typeof hookUpdate>): Change<HookView> {
    const { hook_id, model, ...said } = params;
    const old = hooks.require(by, hook_id);
    requireScopes(by, old.scopes);
    check(params);
    const next = {
      ...old,
      ...said,
      ...(model !== undefined && { model: model === "" ? null : model }),
      ...changedBy(old, makers.of(by)),
      updated_at: clock.now(),
    };
    return hooks.put(next, () => viewNow(next));
  }

  function rotate(by: Principal, params: ParamsOf<typeof hookRotate>): Change<IssuedHook> {
    const { hook_id, secret: given, keep_secs = 0 } = params;
    const old = hooks.require(by, hook_id);
    requireScopes(by, old.scopes);
    const secret = secretOf(old.verify, given);
    const now = clock.now();
    const previous = keep_secs === 0 ? null : { secret: old.secret, until: now + keep_secs * 1_000 };
    const sealed = sealer.seal(secret, old.id);
    const maker = changedBy(old, makers.of(by));
    const next = { ...old, ...maker, secret: sealed, previous, updated_at: now };
    return hooks.put(next, () => ({ ...(given === undefined && { secret }), ...viewNow(next) }));
  }

  const drop = ({ id, name }: StoredHook): Change<void> => hooks.drop(id, [], () => names.remove(name, id));
  const find = (name: string): StoredHook | null =>
    names.of(name).flatMap((id) => hooks.get(id) ?? [])[0] ?? null;
  return {
    create,
    update,
    rotate,
    list: (user) => hooks.list(user).map(viewNow),
    remove(by, hook_id) {
      const hook = hooks.find(by, hook_id);
      return hook === null ? null : drop(hook);
    },
    receive: createReceiver(options, find),
    async load(store) {
      hooks.load(await store.records(HOOKS));
      for (const { name, id } of hooks.list(null)) names.add(name, id);
    },
    mirrors: (store) => [
      hooks.mirror(store, (id, before) => names.change(id, before?.name, hooks.get(id)?.name)),
    ],
    forget: (user) => hooks.forget(user, drop),
  };
}

/**
 * Whose names are, those of hooks that are being made among them. Where two were made under one name at two nodes at once, every
 * node goes by the older, and by the other one when that is gone.
 */
class HookNames {
  readonly #ids = new Map<string, string[]>();

  /** The oldest first. */
  of(name: string): readonly string[] {
    return this.#ids.get(name) ?? [];
  }
  add(name: string, id: string): void {
    if (!this.of(name).includes(id)) this.#ids.set(name, [...this.of(name), id].toSorted());
  }
  remove(name: string, id: string): void {
    const left = this.of(name).filter((each) => each !== id);
    if (left.length > 0) this.#ids.set(name, left);
    else this.#ids.delete(name);
  }
  /** What another node calls a hook. */
  change(id: string, before?: string, now?: string): void {
    if (before !== undefined) this.remove(before, id);
    if (now !== undefined) this.add(now, id);
  }
}

interface Making {
  readonly made_by: Maker;
  readonly verify: Verify;
  readonly secret: string;
  readonly sealer: Sealer;
  readonly now: number;
}

function made(
  { user: owner, scopes }: Principal,
  params: ParamsOf<typeof hookCreate>,
  { made_by, verify, secret, sealer, now }: Making,
): StoredHook {
  const { name, session_id, template, header, model, on_busy, dedupe, id_header } = params;
  const id = newId("hok", now);
  return {
    id,
    owner,
    made_by,
    scopes: writing(scopes),
    name,
    verify,
    header: (header ?? HEADERS[verify]).toLowerCase(),
    session_id,
    template,
    model: model ?? null,
    on_busy: on_busy ?? null,
    dedupe: dedupe ?? "id",
    id_header: id_header?.toLowerCase() ?? null,
    enabled: true,
    created_at: now,
    updated_at: now,
    secret: sealer.seal(secret, id),
    previous: null,
  };
}

/** @throws GatewayError INVALID_REQUEST */
function check(params: { readonly session_id?: string; readonly template?: string }): void {
  for (const path of ["template", "session_id"] as const) {
    const fault = templateFault(params[path] ?? "");
    if (fault !== null) throw invalid(path, fault);
  }
  const { session_id = "s" } = params;
  if (!hasPlaces(session_id) && !/^[A-Za-z0-9._:-]{1,128}$/.test(session_id)) {
    throw invalid(
      "session_id",
      "has letters, digits and . _ : - only, 128 at most, and places like {{number}}",
    );
  }
}

function secretOf(verify: Verify, given: string | undefined): string {
  if (given === undefined) return newSigningSecret(verify);
  const fault = secretFault(verify, given);
  if (fault !== null) throw invalid("secret", fault);
  return given;
}

function invalid(path: string, what: string): GatewayError {
  return new GatewayError("INVALID_REQUEST", `${path}: ${what}`, {
    details: { kind: "schema", path },
    http: 422,
  });
}

function taken(name: string): GatewayError {
  return new GatewayError(
    "CONFLICT",
    `a hook of this gateway is called ${name} already: choose another name`,
    {
      details: { kind: "exists" },
    },
  );
}
