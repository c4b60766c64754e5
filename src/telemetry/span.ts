import type { TraceContext } from "../core/trace.ts";

export type Attribute = string | number | boolean | readonly string[];
export type Attributes = Readonly<Record<string, Attribute | undefined>>;

/** Something that took time, once it is over. */
export interface Span {
  readonly context: TraceContext;
  /** What it hangs below; null: it begins the trace. */
  readonly parent: string | null;
  readonly name: string;
  /** server: somebody asked for it; client: it asks somebody else. */
  readonly kind: "internal" | "server" | "client";
  /** Milliseconds since 1970. */
  readonly start_ms: number;
  readonly end_ms: number;
  /** Those that are undefined are left out. */
  readonly attributes: Attributes;
  /** The code of what went wrong; absent: nothing did. */
  readonly error?: string | undefined;
}

/** Where spans go. Never throws or waits. */
export type Sink = (span: Span) => void;
