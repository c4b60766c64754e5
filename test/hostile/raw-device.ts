import type { Arena } from "./beside.ts";
import { until } from "./beside.ts";
import { dialSocket, frame, TEXT } from "./raw-peer.ts";

export interface Challenge {
  readonly nonce: string;
  readonly server_id: string;
}
export type Proof = Record<string, unknown>;
export type Prove = (challenge: Challenge) => Proof;

/** What came of it. */
export interface Outcome {
  /** "ok", or the code of the error. */
  readonly code: string;
  readonly details: { readonly kind?: string; readonly code?: string };
}

export interface From {
  /** Default: an address that nobody came from before, as long as there are such. */
  readonly address?: string;
  readonly origin?: string;
}

let addresses = 0;
/** A wrong proof is a guess, of which every address has ten. Other addresses than 127.0.0.1 are there on Linux alone. */
export function elsewhere(): string {
  const number = addresses++;
  return `127.4.${(number >> 7) & 127}.${(number & 127) + 1}`;
}

interface Answer {
  readonly ok?: boolean;
  readonly payload?: Challenge;
  readonly error?: { readonly code: string; readonly details?: Outcome["details"] };
}

/** Answers the challenge of a socket; the signature has to stay out of the log, whatever comes of it. */
export async function proveOver(
  arena: Arena,
  prove: Prove,
  more: Proof = {},
  from: From = {},
): Promise<Outcome> {
  const headers = from.origin === undefined ? {} : { Origin: from.origin };
  using peer = await dialSocket(arena.port, headers, from.address ?? elsewhere());
  const answers = (): Answer[] =>
    peer.heard.flatMap((each) => ("text" in each ? [JSON.parse(each.text)] : []));
  await until(() => answers().length > 0 || peer.closed, "the challenge");
  const challenge = answers()[0]?.payload;
  // No socket at all: what HTTP answers.
  if (challenge === undefined) return outcomeOf(JSON.parse(peer.text.split("\r\n\r\n")[1] ?? "{}"));
  const proof = prove(challenge);
  const request = {
    type: "req",
    id: "h",
    method: "connect",
    params: { client_id: "cli", device: proof, ...more },
  };
  await peer.write(frame({ opcode: TEXT, payload: JSON.stringify(request) }));
  await until(() => answers().length > 1 || peer.closed, "the answer");
  const { signature } = proof;
  if (typeof signature === "string" && signature.length > 40) arena.secret(signature);
  return outcomeOf(answers()[1] ?? {});
}

/** The same as a login over REST, from 127.0.0.1. */
export async function proveOverRest(arena: Arena, prove: Prove, more: Proof = {}): Promise<Outcome> {
  const { body: challenge } = await arena.ask("POST", "/api/v1/challenges");
  const body = { client_id: "cli", device: prove(challenge), ...more };
  const answer = await arena.ask("POST", "/api/v1/auth_sessions", { body });
  if (answer.status === 201) arena.secret(answer.body.session_token);
  return outcomeOf(answer.status === 201 ? { ok: true } : answer.body);
}

function outcomeOf({ ok, error }: Answer): Outcome {
  return { code: ok === true ? "ok" : (error?.code ?? "closed"), details: error?.details ?? {} };
}
