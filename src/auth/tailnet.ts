import type { Clock } from "../core/ports.ts";
import type { Principal, TailnetPeer, TokenGrant } from "../core/principal.ts";
import type { SampledLog } from "../core/sampled-log.ts";
import { Slots } from "../core/slots.ts";
import { expandScopes } from "./scopes.ts";
import { NoAnswer, whois } from "./tailscaled.ts";

/** How long an answer counts, and of how many peers. */
const ANSWER_MS = 60_000;
const ANSWERS = 4_096;
/** Questions at once, and that may wait for their turn. */
const QUESTIONS = 4;
const WAITING = 64;
/** After silence nobody is asked for so long: a thousand who wait would each wait for the deadline. */
const REST_MS = 1_000;
/** An open connection may stay so long after its login was last confirmed, while tailscaled says nothing. */
const UNCONFIRMED_MS = 2 * ANSWER_MS;
const SAID_CHARS = 100;
const NOT_LISTED =
  "a peer of the tailnet whose login auth.tailscale.users does not list came without a credential";
const FORGED = "a proxy that is trusted passed on a Tailscale-User-Login that tailscaled does not confirm";
const SILENT = "tailscaled does not say who a peer is, so nobody comes in by it: agentbus doctor tells more";

export interface TailnetOptions {
  /** auth.tailscale.socket */
  readonly socket: string;
  /** auth.tailscale.users, by login. */
  readonly users: Readonly<Record<string, { readonly user: string; readonly role: Role }>>;
  /** Whether an address is this machine's own. */
  readonly isLocal: (address: string) => boolean;
  readonly clock: Clock;
  readonly log: SampledLog;
}
type Role = NonNullable<TokenGrant["role"]>;

function grantsOf(users: TailnetOptions["users"]): Map<string, Pick<Principal, "user" | "scopes">> {
  return new Map(
    Object.entries(users).map(([login, { user, role }]) => [login, { user, scopes: expandScopes(role) }]),
  );
}

interface Answer {
  /** Null: nobody's. */
  readonly login: string | null;
  /** By the monotonic clock. */
  readonly at: number;
}

/** Who the peers of the tailnet are, as tailscaled on this machine knows them and the configuration maps them. */
export class Tailnet {
  readonly #options: TailnetOptions;
  #grants: ReadonlyMap<string, Pick<Principal, "user" | "scopes">>;
  /** By address, in the order they came. */
  readonly #answers = new Map<string, Answer>();
  readonly #pending = new Map<string, Promise<Answer | null>>();
  readonly #slots = new Slots(QUESTIONS);
  /** By the monotonic clock. */
  #restsUntil = Number.NEGATIVE_INFINITY;

  constructor(options: TailnetOptions) {
    this.#options = options;
    this.#grants = grantsOf(options.users);
  }

  /** Who a login is from here on. */
  setUsers(users: TailnetOptions["users"]): void {
    this.#grants = grantsOf(users);
  }

  /** Whether a principal that this made may still do all it was let in for, as the user it was. */
  grants({ user, scopes, peer }: Principal): boolean {
    const grant = this.#grants.get(peer?.login ?? "");
    return grant?.user === user && scopes.isSubsetOf(grant.scopes);
  }

  /** Who a peer is. "stranger": nobody the configuration lists; "unknown": tailscaled did not say. Never throws. */
  async identify(peer: TailnetPeer): Promise<Principal | "stranger" | "unknown"> {
    const answer = await this.#ask(peer.addr);
    if (answer === null) return "unknown";
    const { login } = answer;
    if (login === null) return "stranger";
    const grant = this.#grants.get(login);
    const doubtful = peer.login !== null && peer.login !== login;
    if (grant === undefined || doubtful) {
      const { log } = this.#options;
      const { addr } = peer;
      if (doubtful)
        log.warn("tailscale.forged", { addr, login, said: peer.login?.slice(0, SAID_CHARS) }, FORGED);
      else log.warn("tailscale.stranger", { addr, login }, NOT_LISTED);
      return "stranger";
    }
    return { ...grant, method: "tailscale", credential: null, expires_at: null, peer: { ...peer, login } };
  }

  /** Whether a peer that was let in still is who it was. "unknown": tailscaled has not said for too long. Never throws. */
  async recheck({ addr, login }: TailnetPeer): Promise<"same" | "other" | "unknown"> {
    const answer = await this.#ask(addr);
    if (answer !== null) return answer.login === login ? "same" : "other";
    const last = this.#answers.get(addr);
    const age = this.#options.clock.monotonic() - (last?.at ?? Number.NEGATIVE_INFINITY);
    return last?.login === login && age < UNCONFIRMED_MS ? "same" : "unknown";
  }

  /** Null: tailscaled did not say. */
  #ask(addr: string): Promise<Answer | null> {
    const known = this.#answers.get(addr);
    if (known !== undefined && this.#options.clock.monotonic() - known.at < ANSWER_MS) {
      return Promise.resolve(known);
    }
    const same = this.#pending.get(addr);
    if (same !== undefined) return same;
    const asked = this.#question(addr).finally(() => this.#pending.delete(addr));
    this.#pending.set(addr, asked);
    return asked;
  }

  async #question(addr: string): Promise<Answer | null> {
    const { socket, clock, log } = this.#options;
    try {
      if (this.#slots.waiting >= WAITING) throw new NoAnswer("too many questions at once", false);
      const login = await this.#slots.use(() => this.#whois(addr));
      const answer = { login, at: clock.monotonic() };
      this.#remember(addr, answer);
      return answer;
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      log.warn("tailscale", { socket, reason: error.message }, SILENT);
      return null;
    }
  }

  /** @throws NoAnswer */
  async #whois(addr: string): Promise<string | null> {
    const { socket, clock, isLocal } = this.#options;
    // Anybody on this machine, a tool of an agent too, could come from its addresses.
    if (isLocal(addr.slice(0, addr.lastIndexOf(":")))) return null;
    if (clock.monotonic() < this.#restsUntil) throw new NoAnswer("it was silent a moment ago", false);
    try {
      return await whois(socket, addr, clock);
    } catch (error) {
      // Before the place goes to the next who waits.
      if (error instanceof NoAnswer && error.silent) this.#restsUntil = clock.monotonic() + REST_MS;
      throw error;
    }
  }

  #remember(addr: string, answer: Answer): void {
    this.#answers.delete(addr);
    this.#answers.set(addr, answer);
    const [oldest = ""] = this.#answers.keys();
    if (this.#answers.size > ANSWERS) this.#answers.delete(oldest);
  }
}
