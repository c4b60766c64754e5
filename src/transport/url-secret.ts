import { GatewayError } from "../protocol/errors.ts";

/** How the name of a parameter ends that holds a secret: "access_token", "X-Api-Key", "userPassword". */
const SECRET_NAME =
  /(?:token|secret|password|passwd|passphrase|passcode|pwd|apikey|accesskey|privatekey|secretkey|signature|jwt|bearer|credentials?|authorization|cookie)\d*$/;
/** Too short to be looked for within a word. */
const SECRET_NAMES: ReadonlySet<string> = new Set(["auth", "key", "pass", "sig"]);
/** What the secrets that the gateway makes begin with, whatever the parameter is called. */
const OWN_SECRET = /^ag[bst]_/;
const TICKET = "ticket";
const NAME_CHARS = 64;

/**
 * Refuses what looks like a secret: from the URL it would get into logs, histories and referrers. `ticket`: the one that may
 * stand there, for one stream. @throws GatewayError
 */
export function refuseSecretsInUrl(url: string, { ticket }: { readonly ticket: boolean }): void {
  const start = url.indexOf("?");
  if (start === -1) return;
  for (const [name, value] of new URLSearchParams(url.slice(start + 1))) {
    const plain = name.toLowerCase().replaceAll(/[^a-z0-9]/g, "");
    if (plain === TICKET) {
      if (!ticket || name !== TICKET) throw secretInUrl(name);
      continue;
    }
    if (SECRET_NAMES.has(plain) || SECRET_NAME.test(plain)) throw secretInUrl(name);
    if (OWN_SECRET.test(value)) throw secretInUrl(name);
    if (OWN_SECRET.test(name)) throw secretInUrl("…");
  }
}

function secretInUrl(name: string): GatewayError {
  return new GatewayError(
    "INVALID_REQUEST",
    `no ?${name.slice(0, NAME_CHARS)}= here, a URL is no place for a secret: send the Authorization header`,
    { details: { kind: "secret_in_url" } },
  );
}
