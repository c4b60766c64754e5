import type { Answer, Person, Stack } from "./stack.ts";
import { ask } from "./stack.ts";

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
export type Made = any;
let made = 0;

export async function makeHook(by: Person, params: Record<string, unknown> = {}): Promise<Made> {
  const name = `hook-${++made}`;
  return by.call("hook.create", { name, session_id: name, template: "{{text}}", ...params });
}

export function deliverTo(
  stack: Stack,
  { path }: { path: string },
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return ask(`${stack.gateway.url}${path}`, "POST", { body, headers });
}

export const bearer = ({ secret }: Made): Record<string, string> => ({ authorization: `Bearer ${secret}` });
