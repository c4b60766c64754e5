import type { ErrorBody } from "../protocol/errors.ts";
import type { Challenge } from "./device.ts";
import type { ClientError } from "./error.ts";
import type * as Errors from "./error.ts";
import type { Hello, ResultFor } from "./methods.ts";
import type { FetchLike } from "./options.ts";

/** Handed in, so that the way over HTTP shares no code with what is loaded before it. */
export type ErrorClasses = Pick<
  typeof Errors,
  "AbortedError" | "ConnectionError" | "GatewayError" | "toClientError"
>;

export interface RestOptions {
  readonly errors: ErrorClasses;
  /** Where the paths begin, without a slash at the end. */
  readonly base: string;
  readonly fetch: FetchLike;
  /** What `connect` would be told. */
  readonly greeting: Record<string, unknown> & { readonly client_id: string };
  /** As in `connect`; null: no device. */
  readonly prove: ((challenge: Challenge) => Promise<Record<string, unknown>>) | null;
}

interface RestInit {
  readonly headers?: Record<string, string>;
  readonly body?: NonNullable<RequestInit["body"]>;
  readonly signal: AbortSignal;
}

interface Login {
  /** Null: this peer needs none. */
  readonly token: string | null;
  readonly auth: Hello["auth_info"];
}

/** A challenge can be signed for so long. */
const CHALLENGE_MS = 30_000;
const GOODBYE_MS = 2_000;
/** What of the greeting a login takes, too. */
const SAID = ["auth_token", "password", "client_id", "client_name", "platform"];

/** The way in over HTTP: one login for all requests, until it has ended. */
export class RestAccess {
  readonly #options: RestOptions;
  #login: Login | null = null;
  #features: Hello["features"] | null = null;

  constructor(options: RestOptions) {
    this.#options = options;
  }

  /** @throws ClientError the gateway's refusal; UNREACHABLE: it was not the gateway who answered, or nobody */
  async open(signal: AbortSignal): Promise<Hello> {
    this.#login ??= await this.#logIn(signal);
    const { auth } = this.#login;
    const { capabilities, ...server } = await this.call("system.info", {}, signal);
    this.#features ??= await this.#describe(signal);
    return {
      server_info: { ...server, node_id: "", connection_id: "" },
      capabilities,
      features: this.#features,
      policy: {},
      auth_info: auth,
    };
  }

  /** One method. @throws ClientError as open */
  call<M extends string>(method: M, params: object, signal: AbortSignal): Promise<ResultFor<M>> {
    const path = `/api/v1/rpc/${encodeURIComponent(method)}`;
    return this.#ask("POST", path, params, signal) as Promise<ResultFor<M>>;
  }

  /** The events of a session after a cursor, or from a snapshot. @throws ClientError as open */
  async events(
    { session_id, epoch, after, catch_up }: Record<string, unknown>,
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array>> {
    const query = new URLSearchParams();
    if (after !== undefined) {
      const known = epoch ?? (await this.call("session.get", { session_id }, signal)).epoch;
      query.set("after", `${known as string}.${after as number}`);
    }
    if (catch_up !== undefined) query.set("catch_up", catch_up as string);
    const path = `/api/v1/sessions/${encodeURIComponent(session_id as string)}/events?${query}`;
    const { body } = await this.fetch("GET", path, { signal });
    if (body === null) throw this.#unreachable("an answer without a body");
    return body;
  }

  get errors(): ErrorClasses {
    return this.#options.errors;
  }

  get hasLogin(): boolean {
    return this.#login !== null;
  }

  /** Goes on with a login that was made otherwise. */
  adopt(token: string): void {
    this.#login = { token, auth: { user: "", method: "auth_session", scopes: [] } };
  }

  /** The login has ended; the next open() makes another. */
  forget(): void {
    this.#login = null;
  }

  /** Gives a login back that was made here. */
  async close(): Promise<void> {
    const given = this.#options.greeting["session_token"] !== undefined;
    const token = this.#login?.token ?? null;
    const path = "/api/v1/auth_sessions/current";
    const patience = AbortSignal.timeout(GOODBYE_MS);
    const request = token === null || given ? null : this.fetch("DELETE", path, { signal: patience });
    this.#login = null;
    // Where it does not arrive, the login ends by itself.
    await request?.catch(() => undefined);
  }

  async #logIn(signal: AbortSignal): Promise<Login> {
    const { greeting, prove } = this.#options;
    const token = greeting["session_token"];
    if (typeof token === "string") {
      this.#login = { token, auth: { user: "", method: "auth_session", scopes: [] } };
      const known = this.call("auth_session.validate", { session_token: token }, signal);
      const { user = "", scopes = [] } = await known.catch((error: unknown) => {
        // What it may do is not known: the next attempt looks again.
        this.#login = null;
        throw error;
      });
      return { token, auth: { user, method: "auth_session", scopes } };
    }
    const said: Record<string, unknown> = {};
    for (const name of SAID) if (greeting[name] !== undefined) said[name] = greeting[name];
    if (prove !== null) {
      const { nonce, server_id, expires_at } = (await this.#ask(
        "POST",
        "/api/v1/challenges",
        {},
        signal,
      )) as Challenge & {
        expires_at: number;
      };
      said["device"] = await prove({ nonce, server_id, ts: expires_at - CHALLENGE_MS });
    }
    try {
      const made = (await this.#ask(
        "POST",
        "/api/v1/auth_sessions",
        said,
        signal,
      )) as ResultFor<"auth_session.create">;
      const { session_token, user, scopes, expires_at } = made;
      return { token: session_token, auth: { user, scopes, expires_at, method: "auth_session" } };
    } catch (error) {
      // A peer that is known by its address needs no login, and gets none.
      if ((error as Partial<ClientError>).details?.["kind"] !== "tailscale") throw error;
      return { token: null, auth: { user: "", method: "tailscale", scopes: [] } };
    }
  }

  async #describe(signal: AbortSignal): Promise<Hello["features"]> {
    const { methods, events } = await this.call("system.describe", {}, signal);
    return { methods: methods.map(({ name }) => name), events: events.map(({ type }) => type) };
  }

  async #ask(verb: string, path: string, body: object, signal: AbortSignal): Promise<unknown> {
    const headers = { "content-type": "application/json" };
    return (await this.fetch(verb, path, { headers, body: JSON.stringify(body), signal })).json();
  }

  /** Any request, with the login. @throws ClientError as open; whatever it answers is a success */
  async fetch(verb: string, path: string, init: RestInit): Promise<Response> {
    const { base, greeting, fetch: send } = this.#options;
    const token = this.#login?.token ?? null;
    const headers = {
      ...init.headers,
      "x-client-id": greeting.client_id,
      ...(token !== null && { authorization: `Bearer ${token}` }),
    };
    let response: Response;
    try {
      response = await send(base + path, { ...init, method: verb, headers });
    } catch (error) {
      if (init.signal.aborted) throw new this.errors.AbortedError();
      throw this.#unreachable(String(error));
    }
    if (!response.ok) throw await this.#refusalOf(response);
    return response;
  }

  /** The error of a gateway, or that there is none behind whoever answered. */
  async #refusalOf(response: Response): Promise<ClientError> {
    const body = (await response.json().catch(() => null)) as { error?: ErrorBody } | null;
    if (typeof body?.error?.code === "string") return this.errors.toClientError(body.error);
    return this.#unreachable(`status ${response.status}`, new URL(response.url).origin);
  }

  #unreachable(why: string, at = this.#options.base): ClientError {
    return new this.errors.ConnectionError("UNREACHABLE", `no gateway answers at ${at} (${why})`);
  }
}
