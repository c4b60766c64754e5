import type { MethodDefinition } from "../protocol/methods.ts";

/** A request that carries an idempotency key. */
export interface KeyedRequest {
  readonly user: string;
  readonly key: string;
  readonly fingerprint: string;
  /** It is the id of what another node asks: nobody chose it, and no user may hold fewer for it. */
  readonly of_call?: true;
}

/** The key that whoever asks gave; null: none. */
export function keyOf(params: unknown): string | null {
  const { idempotency_key } = params as { readonly idempotency_key?: unknown };
  return typeof idempotency_key === "string" ? idempotency_key : null;
}

/**
 * What makes two requests the same: method and validated params with their defaults, keys sorted, without the key
 * itself and without `subscribe`, which is about the connection. SHA-256, hex.
 */
export function fingerprint(definition: MethodDefinition, params: Record<string, unknown>): string {
  const full: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(definition.params.properties)) {
    if (name === "idempotency_key" || name === "subscribe") continue;
    const value = params[name] ?? (schema as { default?: unknown }).default;
    if (value !== undefined) full[name] = value;
  }
  return new Bun.CryptoHasher("sha256").update(`${definition.name}\n${canonical(full)}`).digest("hex");
}

/** JSON text with the keys of every object sorted. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, each]) => `${JSON.stringify(key)}:${canonical(each)}`).join(",")}}`;
}

/** While the first request with a key is in flight, the next one with that key waits for it. */
export class InFlight {
  readonly #last = new Map<string, Promise<void>>();

  /** Resolves when nobody else holds the key, with what gives it up again (idempotent). */
  async enter(request: KeyedRequest): Promise<() => void> {
    const id = `${request.user}\n${request.key}`;
    const before = this.#last.get(id);
    let release: () => void = () => undefined;
    const mine = new Promise<void>((resolve) => (release = resolve));
    this.#last.set(id, mine);
    void mine.then(() => {
      if (this.#last.get(id) === mine) this.#last.delete(id);
    });
    await before;
    return release;
  }
}
