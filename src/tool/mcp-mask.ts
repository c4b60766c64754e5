const MASK = "***";
/** A shorter value would be found in words that are none of it. */
const SECRET_CHARS = 6;

/** What a tool server is given to prove itself with, in every form it may say it again. */
export interface Given {
  readonly env: Readonly<Record<string, string>>;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

export type Mask = (text: string) => string;

/** Hides in what a tool server says what it was given: servers like to tell which key is wrong. */
export function maskOf({ env, url, headers }: Given): Mask {
  const { searchParams = [], username = "", password = "" } = URL.parse(url) ?? {};
  const parameters = [...searchParams].map(([, value]) => value);
  const credentials = Object.values(headers).flatMap((value) => [value, ...value.split(" ")]);
  const secrets = [...Object.values(env), ...credentials, ...parameters, username, password]
    .flatMap((secret) => [secret, encodeURIComponent(secret)])
    .filter((secret) => secret.length >= SECRET_CHARS)
    // The whole of one before a part of it.
    .sort((a, b) => b.length - a.length);
  return (text) => secrets.reduce((rest, secret) => rest.replaceAll(secret, MASK), text);
}
