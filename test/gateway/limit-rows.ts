import type { LimitsSection } from "../../src/config/limits.ts";
import type { ErrorBody } from "../../src/protocol/errors.ts";
import type { ConfigTable } from "../support/gateway-process.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { requestUpgrade } from "../support/ws-client.ts";
import type { Answer, Person, Stack } from "./stack.ts";
import { refusal } from "./stack.ts";

/** How somebody learned that a limit was reached. */
export interface Reached {
  readonly error: ErrorBody;
  /** The socket was closed with it. */
  readonly close?: number;
  /** It was an HTTP answer. */
  readonly status?: number;
  readonly retry_after?: string | null;
}

/** What is expected of it, besides that it names the option and its value. */
export interface Said {
  readonly code: ErrorBody["code"];
  /** details.kind; null: there is none. */
  readonly kind: string | null;
  readonly close?: number;
  readonly status?: number;
  readonly retry_after?: string;
}

/** One way to reach a limit. It leaves nothing open that would keep the limit reached. */
export interface Way {
  readonly says: Said;
  reach(stack: Stack): Promise<Reached>;
}

export interface LimitRow {
  readonly option: keyof LimitsSection | "max_connections" | "connection_timeout_secs";
  /** What it is set to. */
  readonly value: number;
  readonly ways: Readonly<Record<string, Way>>;
  /** Works again, below the limit. */
  again(stack: Stack): Promise<unknown>;
}

/** Rows that share a gateway: each with values so small that it is reached by a handful, and none in the way of another. */
export interface LimitGroup {
  readonly name: string;
  readonly config: ConfigTable;
  readonly rows: readonly LimitRow[];
}

let made = 0;
/** Somebody who has nothing yet. */
export function fresh(stack: Stack, role = "user"): Promise<Person> {
  return stack.guest({ user: `limited-${++made}`, role });
}

/** What a request over a socket is refused with; the socket stays. */
export async function refusedBy(work: Promise<unknown>): Promise<Reached> {
  return { error: await refusal(work) };
}

/** What an HTTP request is refused with. */
export async function refusedIn(answer: Promise<Answer>): Promise<Reached> {
  const { status, headers, json } = await answer;
  return { error: json.error, status, retry_after: headers.get("retry-after") };
}

/** What an upgrade is refused with. */
export async function refusedUpgrade(stack: Stack, headers: Record<string, string>): Promise<Reached> {
  const response = await requestUpgrade(stack.gateway.ws_url, headers);
  const { error } = (await response.json()) as { error: ErrorBody };
  return { error, status: response.status, retry_after: response.headers.get("retry-after") };
}

/** The last thing a socket read, and the code it was closed with. */
export async function lastWords(socket: TestSocket): Promise<Reached> {
  const { code } = await socket.closed;
  return { error: socket.frames.at(-1)?.json.error, close: code };
}

export function from(address: string): Record<string, string> {
  return { "x-forwarded-for": address };
}
