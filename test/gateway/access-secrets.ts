import { SCOPES } from "../../src/protocol/schema.ts";
import { newDevice } from "../support/device.ts";
import type { TestTailscaled } from "../support/tailscaled.ts";
import { startTailscaled } from "../support/tailscaled.ts";
import type { Kind, Secret } from "./access-ways.ts";
import type { World } from "./world.ts";
import { TOOLS_CONFIG } from "./tool-asks.ts";
import { putPlugin } from "./plugins.fixture.ts";
import type { Person, Stack } from "./stack.ts";
import { eventually, startStack } from "./stack.ts";

const PASSWORD = "correct horse battery staple";
/** Whose login it is, and from where they come. */
const PEERS = {
  owner: { address: "100.64.0.1", login: "owner@example.com" },
  viewer: { address: "100.64.0.2", login: "viewer@example.com" },
  eve: { address: "100.64.0.3", login: "eve@example.com" },
  dan: { address: "100.64.0.4", login: "dan@example.com" },
} as const;
const USERS = {
  '"owner@example.com"': { user: "owner", role: "admin" },
  '"viewer@example.com"': { user: "owner", role: "viewer" },
  '"eve@example.com"': { user: "eve", role: "operator" },
  '"dan@example.com"': { user: "dan", role: "operator" },
};
/** All but the one that means all. */
export const PARTS: readonly string[] = SCOPES.filter((scope) => scope !== "admin");

/** Each of many calls makes one more. */
export const MANY = { hooks_per_user: 100_000, schedules_per_user: 100_000, webhooks_per_user: 100_000 };

/** A plug-in whose routes need what system.status does: one at its prefix and one below it, for each verb. */
const MATRIX = `const route = { scope: "system.read", doc: "Answers.", run: () => ({}) };
const verbs = ["GET", "POST", "PATCH", "DELETE"];
const paths = verbs.flatMap((verb) => [verb + " /", verb + " /below/:it"]);
export default { name: "matrix", routes: Object.fromEntries(paths.map((path) => [path, route])) };
`;

/** A gateway that every kind of credential lets in; what 127.0.0.1 says of addresses counts. */
export async function startOpenMinded(): Promise<Stack & { tailscaled: TestTailscaled }> {
  const machines = Object.values(PEERS).map(({ address, login }) => [address, { login }] as const);
  const tailscaled = await startTailscaled(Object.fromEntries(machines));
  const stack = await startStack({
    config: {
      server: { trusted_proxies: ["127.0.0.1"] },
      auth: {
        mode: "multi",
        modes: ["token", "password", "device", "tailscale"],
        password: PASSWORD,
        tailscale: { socket: tailscaled.socket, users: USERS },
      },
      limits: { pairing_requests_per_address: 64, max_unauthenticated_per_address: 256, ...MANY },
      tools: TOOLS_CONFIG,
    },
  });
  await putPlugin(stack, "matrix.ts", MATRIX);
  await stack.owner.call("plugin.reload");
  return {
    ...stack,
    tailscaled,
    async [Symbol.asyncDispose]() {
      await stack[Symbol.asyncDispose]();
      await tailscaled[Symbol.asyncDispose]();
    },
  };
}

/** The world by the names that somebody would have for it whom its session was shared with once. */
export async function fromOutside(world: World): Promise<World> {
  const { stack, session_id } = world;
  await stack.owner.call("session.share", { session_id, user: "ann", role: "viewer" });
  const ann = await stack.guest({ user: "ann", scopes: ["chat.read"] });
  const { sessions } = await ann.call("session.list");
  await stack.owner.call("session.unshare", { session_id, user: "ann" });
  const hidden: string = sessions[0].session_id;
  const freshApproval = async () => ({ session_id: hidden, approval_id: "apr_none" });
  return { ...world, session_id: hidden, freshSession: async () => hidden, freshApproval };
}

/** What a secret can be besides right. */
export type State = "none" | "empty" | "wrong" | "expired" | "revoked" | "rotated" | "disabled" | "used";

/** The secrets of a test: those that let nobody in any more, and those that let somebody in. */
export interface Secrets {
  readonly dead: Readonly<Record<Kind, Readonly<Partial<Record<State, Secret>>>>>;
  /** The owner's, with this scope and, where a kind can be had so, no other; `lent`: but for that one. */
  right(kind: Kind, scope: string | null, lent?: string): Promise<Secret>;
  /** The owner's, with every scope but this one; null: the kind cannot be had so. */
  lacking(kind: Kind, scope: string): Promise<Secret | null>;
  /** Somebody else's, with every scope but admin; null: as above. */
  foreign(kind: Kind): Promise<Secret | null>;
}

export async function createSecrets(stack: Stack): Promise<Secrets> {
  const grant = (scopes: readonly string[], user = "owner"): Grant => ({ user, scopes });
  /** What is not used up, by a logout neither, is made once. */
  const made = new Map<string, Promise<Secret>>();
  const one = (kind: Issued, what: Grant): Promise<Secret> => {
    if (kind === "ticket" || kind === "session_token") return issue(stack, kind, what);
    const key = `${kind} ${JSON.stringify(what)}`;
    const secret = made.get(key) ?? issue(stack, kind, what);
    made.set(key, secret);
    return secret;
  };
  return {
    dead: await makeDead(stack),
    async right(kind, scope, lent) {
      if (kind === "password") return { text: PASSWORD };
      if (kind === "tailnet") return { peer: PEERS.owner };
      return one(kind, grant([scope, lent].filter((each) => typeof each === "string")));
    },
    async lacking(kind, scope) {
      if (kind === "password" || (kind === "tailnet" && scope === "chat.read")) return null;
      if (kind === "tailnet") return { peer: PEERS.viewer };
      return one(kind, grant(PARTS.filter((each) => each !== scope)));
    },
    async foreign(kind) {
      if (kind === "password") return null;
      if (kind === "tailnet") return { peer: PEERS.eve };
      return one(kind, grant(PARTS, "eve"));
    },
  };
}

interface Grant {
  readonly user: string;
  readonly scopes: readonly string[];
  readonly expires_in_secs?: number;
}

type Issued = "token" | "session_token" | "ticket" | "device";

async function issue(stack: Stack, kind: Issued, grant: Grant): Promise<Secret> {
  if (kind === "device") {
    const device = newDevice();
    await stack.owner.call("device.register", { ...grant, public_key: device.public_key });
    return { device };
  }
  return childOf(await stack.guest({ ...grant }), kind);
}

async function childOf(person: Person, kind: Exclude<Issued, "device">): Promise<Secret> {
  if (kind === "token") return { text: person.token };
  if (kind === "ticket") return { text: (await person.call("ticket.create")).ticket };
  return { text: (await person.call("auth_session.create")).session_token };
}

async function makeDead(stack: Stack): Promise<Secrets["dead"]> {
  const { owner } = stack;
  const grant: Grant = { user: "owner", scopes: ["admin"] };
  const all = ["token", "session_token", "ticket"] as const;
  /** One of each kind, made with a token that is then dealt with. */
  async function family(more: Partial<Grant> = {}) {
    const { token, token_id } = await owner.call("token.create", { name: "dead", ...grant, ...more });
    const person = stack.person(token);
    const [one, login, ticket] = await Promise.all(all.map((kind) => childOf(person, kind)));
    return { token_id, secrets: { token: one, session_token: login, ticket } };
  }
  const expired = await family({ expires_in_secs: 1 });
  const revoked = await family();
  await owner.call("token.revoke", { token_id: revoked.token_id });
  const rotated = await family();
  await owner.call("token.rotate", { token_id: rotated.token_id });
  const lost = newDevice();
  await owner.call("device.register", { ...grant, public_key: lost.public_key });
  await owner.call("device.revoke", { device_id: lost.device_id });
  const known = newDevice();
  await owner.call("device.register", { ...grant, public_key: known.public_key });
  const disabled = await family({ user: "dan" });
  const dans = newDevice();
  await owner.call("device.register", { ...grant, user: "dan", public_key: dans.public_key });
  await owner.call("user.disable", { user: "dan" });
  const status = async (): Promise<number> =>
    (await stack.person(expired.secrets.token?.text ?? "").ask("GET", "/api/v1/stats")).status;
  await eventually(status, (seen) => seen === 401);
  const ofKind = (kind: (typeof all)[number], prefix: string): Partial<Record<State, Secret>> => ({
    empty: { text: "" },
    wrong: { text: `${prefix}${"x".repeat(43)}` },
    expired: expired.secrets[kind] as Secret,
    revoked: revoked.secrets[kind] as Secret,
    rotated: rotated.secrets[kind] as Secret,
    disabled: disabled.secrets[kind] as Secret,
  });
  return {
    token: ofKind("token", "agb_"),
    session_token: ofKind("session_token", "ags_"),
    ticket: { ...ofKind("ticket", "agt_"), used: await usedTicket(stack) },
    password: { empty: { text: "" }, wrong: { text: `${PASSWORD}r` } },
    device: { wrong: { device: known, forged: true }, revoked: { device: lost }, disabled: { device: dans } },
    tailnet: {
      none: {},
      empty: { peer: { ...PEERS.owner, login: "" } },
      wrong: { peer: { ...PEERS.owner, login: PEERS.viewer.login } },
      disabled: { peer: PEERS.dan },
    },
  };
}

async function usedTicket({ owner, gateway }: Stack): Promise<Secret> {
  const { ticket } = await owner.call("ticket.create");
  // Nothing is there, but who asks was let in.
  const url = `${gateway.url}/api/v1/sessions/ses_none/events?ticket=${ticket}`;
  const { status } = await fetch(url);
  if (status !== 404) throw new Error(`the ticket was answered ${status}`);
  return { text: ticket };
}
