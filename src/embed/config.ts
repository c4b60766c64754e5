import type { Config } from "../config/schema.ts";

/** Some of it, at any depth. */
type Some<T> = T extends string | number | boolean | readonly unknown[]
  ? T
  : { readonly [K in keyof T]?: Some<T[K]> | undefined };

/** The file that holds a secret, in place of the secret. */
interface SecretFiles {
  readonly auth: {
    readonly token_file: string;
    readonly password_file: string;
    readonly password_hash_file: string;
  };
  readonly gateway: { readonly auth_token_file: string };
  readonly llm: { readonly providers: Readonly<Record<string, { readonly api_key_file: string }>> };
}

/**
 * The options of agentbus.toml by the same names, each with the same default; the README has the table of them. Text is
 * taken as it is: nothing of the environment is put in.
 */
export type GatewayConfig = Some<Config & SecretFiles>;
