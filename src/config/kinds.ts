import { Type } from "@sinclair/typebox";

export function integer(value: number, description: string, [minimum, maximum]: readonly [number, number]) {
  return Type.Integer({ default: value, description, minimum, maximum });
}

export function toggle(value: boolean, description: string) {
  return Type.Boolean({ default: value, description });
}

export function text(value: string, description: string, more: { minLength?: number; shown?: string } = {}) {
  return Type.String({ default: value, description, ...more });
}

/** A file or directory; relative ones begin where they were said: at the file, or at the working directory. */
export function place(description: string, more: { shown?: string } = {}) {
  return Type.String({ default: "", description, place: true, ...more });
}

/** Masked where it is printed; may come from a file that the option with `_file` after its name points to. */
export function secret(value: string, description: string) {
  return Type.String({ default: value, description, secret: true });
}

export function list(
  description: string,
  { value = [], ...more }: { value?: string[]; secret?: boolean; place?: boolean } = {},
) {
  return Type.Array(Type.String({ minLength: 1 }), { default: value, description, ...more });
}

/** `later`: values that are understood and refused, because this version has nothing behind them. */
export function choice<const T extends string>(
  values: readonly T[],
  value: T,
  description: string,
  later: readonly string[] = [],
) {
  const literals = values.map((each) => Type.Literal(each));
  // Type.Union loses which literals an array holds.
  return Type.Unsafe<T>(Type.Union(literals, { default: value, description, values, later }));
}
