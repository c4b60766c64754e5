import { Validator } from "@cfworker/json-schema";
import type { ToolCall, ToolSpec } from "../core/ports.ts";

export type ReadArguments = (
  call: ToolCall,
  spec: Pick<ToolSpec, "name" | "parameters">,
) =>
  | { readonly ok: true; readonly args: Record<string, unknown> }
  | { readonly ok: false; readonly why: string };

const WHY_CHARS = 1_000;

/**
 * Reads what a model passes to a tool. What is not JSON, or does not fit the tool's schema, is told to the model in words it
 * can mend it by. Schemas are interpreted, never turned into code: a tool server may have sent them.
 */
export function createReadArguments(): ReadArguments {
  const validators = new WeakMap<object, Validator>();

  /** Null: the validator gave up, as it does on a reference to nothing, and on one to itself that goes deeper than the stack. */
  function check(parameters: ToolSpec["parameters"], args: object) {
    try {
      const validator = validators.get(parameters) ?? new Validator(parameters, "2020-12", true);
      validators.set(parameters, validator);
      return validator.validate(args);
    } catch {
      return null;
    }
  }

  return ({ arguments: text }, { name, parameters }) => {
    let args: unknown;
    try {
      args = JSON.parse(text);
    } catch (error) {
      return no(
        `the arguments of ${name} are no JSON (${error instanceof Error ? error.message : "unreadable"})`,
      );
    }
    if (typeof args !== "object" || args === null || Array.isArray(args)) {
      return no(`the arguments of ${name} are no JSON object`);
    }
    const checked = check(parameters, args);
    if (checked === null) {
      return no(`the arguments of ${name} cannot be checked: they are too deep, or its schema is none`);
    }
    const { valid, errors } = checked;
    if (valid) return { ok: true, args: args as Record<string, unknown> };
    const last = errors.at(-1);
    return no(
      `the arguments of ${name} do not fit: ${last?.instanceLocation ?? "#"}: ${last?.error ?? "invalid"}`,
    );
  };
}

function no(why: string) {
  return { ok: false, why: why.slice(0, WHY_CHARS) } as const;
}
