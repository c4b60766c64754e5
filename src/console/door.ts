import type { Client } from "../client/client.ts";
import type { ClientState } from "../client/connection.ts";
import type { ClientOptions } from "../client/options.ts";
import { createClient } from "../client/client.ts";
import { deviceOf } from "../client/device.ts";
import { ClientError } from "../client/error.ts";
import type { Hello } from "../client/methods.ts";
import { canKeepKey, findKey, forgetKey, takeKey } from "./device-key.ts";
import type { KeptLogin } from "./kept.ts";
import { clearOutbox, keepLogin, keepUser, keptLogin, keptUser, onLoginElsewhere, outboxOf } from "./kept.ts";
import { createStore } from "./store.ts";

/** How far in this page is. */
export type Door =
  | { readonly at: "trying"; readonly error: string | null }
  | { readonly at: "closed"; readonly error: string | null; readonly busy: boolean }
  /** Another tab of this browser has signed in as somebody else: nothing more is sent from here. */
  | { readonly at: "elsewhere"; readonly was: string; readonly user: string }
  /** A device that waits to be approved. */
  | { readonly at: "pairing"; readonly code: string; readonly until: number }
  | { readonly at: "in"; readonly client: Client; readonly hello: Hello; readonly link: ClientState };

export type Way = "token" | "password" | "device";

const RETRY_MS = 2_000;
const ways = metaOf("agentbus-ways").split(" ");
/** What the gateway takes, and this browser can do. */
export const WAYS: readonly Way[] = (["token", "password", "device"] as const).filter((way) =>
  ways.includes(way),
);
export const IS_OPEN = ways.includes("open");
export const VERSION = metaOf("agentbus-version");

export const door = createStore<Door>({ at: "trying", error: null });

/** The attempt that counts; a later one takes the place of an earlier one. */
let attempt = 0;
let current: Client | null = null;
/** Who was in here last, and has not signed out here. */
let was: string | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Comes in with what is kept, if anything is. */
export async function open(): Promise<void> {
  const mine = begin();
  const login = keptLogin();
  if (!IS_OPEN && login === null) return door.set({ at: "closed", error: null, busy: false });
  door.set({ at: "trying", error: null });
  try {
    const credential = login === null ? {} : await credentialOf(login);
    if (credential === null) throw new ClientError("UNAUTHORIZED", "the key of this browser is gone");
    await enter(mine, credential);
  } catch (error) {
    if (mine !== attempt) return undefined;
    if (!(error instanceof ClientError) || !error.retryable) return shut(error);
    door.set({ at: "trying", error: error.message });
    timer = setTimeout(() => void open(), RETRY_MS);
  }
  return undefined;
}

/** Signs in with a secret, which is not kept: what is kept is a login of the gateway's that ends by itself. */
export async function signIn(way: "token" | "password", secret: string): Promise<void> {
  const mine = begin();
  door.set({ at: "closed", error: null, busy: true });
  try {
    const client = clientWith(way === "token" ? { auth_token: secret } : { password: secret });
    const { auth_info } = await client.connect();
    const { session_token } = await client.request("auth_session.create", {});
    client.disconnect();
    if (mine !== attempt) return;
    keepUser(auth_info.user);
    keepLogin({ by: "session", session_token });
    await enter(mine, { session_token });
  } catch (error) {
    if (mine === attempt) door.set({ at: "closed", error: told(error), busy: false });
  }
}

/** Asks to be let in as a device; once somebody has approved it this browser comes in by its key alone. */
export async function pair(): Promise<void> {
  const mine = begin();
  door.set({ at: "closed", error: null, busy: true });
  try {
    const device = await deviceOf(await takeKey(), {
      onPairing: ({ code, expires_in_ms }) => {
        if (mine === attempt) door.set({ at: "pairing", code, until: Date.now() + expires_in_ms });
      },
    });
    await enter(mine, { device });
    if (mine === attempt) keepLogin({ by: "device" });
  } catch (error) {
    if (mine === attempt) door.set({ at: "closed", error: told(error), busy: false });
  }
}

export function stopPairing(): void {
  begin();
  door.set({ at: "closed", error: null, busy: false });
}

/** Ends the login at the gateway, too. A device's key is thrown away. */
export async function signOut(): Promise<void> {
  const state = door.get();
  const login = keptLogin();
  const client = current;
  if (state.at === "in" && client !== null) {
    const ending =
      login?.by === "device" ? forgetKey() : client.request("auth_session.revoke", {}, { timeout_ms: 5_000 });
    // Whether it is reached or not, this browser is out.
    await ending.then(undefined, () => undefined);
  }
  keepLogin(null);
  begin();
  was = null;
  // What was not sent goes with whoever wrote it.
  if (state.at === "in") clearOutbox(state.hello.auth_info.user);
  door.set({ at: "closed", error: null, busy: false });
}

onLoginElsewhere(() => {
  const kept = keptLogin() !== null;
  const user = keptUser();
  const { at } = door.get();
  if (kept && was !== null && user !== null && user !== was) {
    begin();
    return door.set({ at: "elsewhere", was, user });
  }
  if (at === "elsewhere" || kept !== (at === "in" || at === "trying")) void open();
  return undefined;
});

function begin(): number {
  clearTimeout(timer);
  current?.disconnect();
  current = null;
  return ++attempt;
}

async function enter(mine: number, credential: Partial<ClientOptions>): Promise<void> {
  const client = clientWith(credential);
  if (mine !== attempt) return;
  current = client;
  const hello = await client.connect();
  if (mine !== attempt) return client.disconnect();
  was = hello.auth_info.user;
  keepUser(was);
  door.set({ at: "in", client, hello, link: { state: "connected" } });
  client.on("state", (link) => {
    if (mine !== attempt) return;
    if (link.state === "closed") return shut(link.error);
    door.set({ at: "in", client, hello: client.hello ?? hello, link });
  });
}

/** Out, by the gateway's word. */
function shut(error: unknown): void {
  begin();
  const refused = error instanceof ClientError && ["UNAUTHORIZED", "FORBIDDEN"].includes(error.code);
  if (refused) keepLogin(null);
  door.set({ at: "closed", error: refused ? told(error) : told(error), busy: false });
}

async function credentialOf(login: KeptLogin): Promise<Partial<ClientOptions> | null> {
  if (login.by === "session") return { session_token: login.session_token };
  const keys = canKeepKey() ? await findKey() : null;
  return keys === null ? null : { device: await deviceOf(keys) };
}

function clientWith(credential: Partial<ClientOptions>): Client {
  return createClient({
    url: location.origin,
    client_name: "console",
    version: VERSION,
    platform: "web",
    capabilities: ["chat", "sessions"],
    // Somebody sits before it: it tries until they leave.
    max_reconnect_attempts: 0,
    outbox: outboxOf,
    ...credential,
  });
}

export function told(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function metaOf(name: string): string {
  return document.querySelector(`meta[name="${name}"]`)?.getAttribute("content") ?? "";
}
