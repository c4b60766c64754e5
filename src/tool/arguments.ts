import { Validator } from "@cfworker/json-schema";
import type { Tool, ToolCall } from "../core/ports.ts";

type Checked = Pick<Tool, "name" | "parameters" | "checks">;

export type ReadArguments = (
  call: ToolCall,
  tool: Checked,
) =>
  | { readonly ok: true; readonly args: Record<string, unknown> }
  | { readonly ok: false; readonly why: string };

const WHY_CHARS = 1_000;
/**
 * Bytes of arguments times bytes of a schema from elsewhere, past which the two are not compared here: every part of the
 * one may meet every part of the other, and nothing else is done meanwhile. So much takes about a tenth of a second.
 */
const WORK_MAX = 50_000_000;

/**
 * Reads what a model passes to a tool. What is not JSON, or does not fit the tool's schema, is told to the model in words it
 * can mend it by. Schemas are interpreted, never turned into code: a tool server may have sent them.
 */
export function createReadArguments(): ReadArguments {
  const known = new WeakMap<object, { readonly validator: Validator; readonly bytes: number }>();

  /** Null: the validator gave up, as it does on a reference to nothing, and on one to itself that goes deeper than the stack. */
  function check(tool: Checked, text: string, args: object) {
    const schema = tool.checks ?? tool.parameters;
    try {
      const kept = known.get(schema);
      const validator = kept?.validator ?? new Validator(schema, "2020-12", true);
      const bytes = kept?.bytes ?? JSON.stringify(schema).length;
      if (kept === undefined) known.set(schema, { validator, bytes });
      // Whoever sent the schema checks what comes to it.
      if (tool.checks !== undefined && bytes * text.length > WORK_MAX) return { valid: true, errors: [] };
      return validator.validate(args);
    } catch {
      return null;
    }
  }

  return ({ arguments: text }, tool) => {
    const { name } = tool;
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
    const checked = check(tool, text, args);
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
