import type { TObject } from "@sinclair/typebox";
import type { MethodDefinition } from "../protocol/methods.ts";
import type { Scope } from "../protocol/schema.ts";
import { validator } from "../protocol/schema.ts";
import type { PluginMethod } from "./api.ts";
import type { Running } from "./running.ts";

/** Who calls a method. */
export interface MethodCaller {
  readonly user: string;
  readonly scopes: ReadonlySet<Scope>;
  readonly client_id: string;
  readonly signal: AbortSignal;
}

/** A method of a plug-in, as the gateway has its own. */
export interface AddedMethod {
  readonly definition: MethodDefinition;
  readonly run: (params: Readonly<Record<string, unknown>>, caller: MethodCaller) => Promise<unknown>;
}

export function methodsOf(running: Running): AddedMethod[] {
  const { methods = {} } = running.plugin;
  return Object.entries(methods).map(([name, method]) => {
    const { scope, doc, result, mutates = false } = method;
    return {
      definition: Object.freeze({ name, scope, doc, result, mutates, params: closed(method.params) }),
      run: (params, { signal, ...caller }) =>
        running.call(name, (context) => fitting(method, method.run(params, Object.assign(context, caller))), {
          signal,
        }),
    };
  });
}

/** Fields it does not name are refused, as everywhere. */
function closed(params: TObject): TObject {
  return { ...params, additionalProperties: params.additionalProperties ?? false };
}

/** @throws Error where the schema does not allow the answer */
function fitting({ result }: PluginMethod, answer: unknown): unknown {
  if (answer instanceof Promise) return answer.then((value: unknown) => checked(result, value));
  return checked(result, answer);
}

function checked(schema: PluginMethod["result"], value: unknown): unknown {
  const check = validator(schema);
  if (check.Check(value)) return value;
  const first = check.Errors(value).First();
  throw new Error(`its answer does not fit its result schema: ${first?.path ?? ""} ${first?.message ?? ""}`);
}
