import { isLoopback, isTailnet } from "./address.ts";
import type { Where } from "./auth.ts";
import { ConfigError } from "./error.ts";
import type { Config } from "./schema.ts";

/**
 * The rules of `server.tls`; `hosts` is what is listened on. What stands in the files is looked at where they are
 * read. Returns warnings.
 * @throws ConfigError
 */
export function checkTls(server: Config["server"], hosts: readonly string[], where: Where): string[] {
  const { mode, cert, key, client_ca } = server.tls;
  const [at_cert, at_key] = [where("server.tls.cert"), where("server.tls.key")];
  if (mode === "auto" && (cert !== "" || key !== "")) {
    throw new ConfigError(
      `${where("server.tls.mode")}: "auto" makes a certificate of its own: remove server.tls.${cert === "" ? "key" : "cert"}, or the mode`,
    );
  }
  if (cert !== "" && key === "") throw new ConfigError(`${at_cert}: the key is missing: set server.tls.key`);
  if (key !== "" && cert === "")
    throw new ConfigError(`${at_key}: the certificate is missing: set server.tls.cert`);
  const on = mode === "auto" || cert !== "";
  if (client_ca !== "" && !on) {
    throw new ConfigError(
      `${where("server.tls.client_ca")}: without TLS nobody is asked for a certificate: set server.tls.cert and key, or mode = "auto"`,
    );
  }
  // Behind a proxy it is the proxy that is reached from elsewhere.
  if (on || server.trusted_proxies.length > 0 || server.public_url.startsWith("https:")) return [];
  const open = hosts.find((host) => !isLoopback(host) && !isTailnet(host));
  if (open === undefined) return [];
  return [
    `"${open}" is reached by other machines without TLS, tokens can be read on the way: set server.tls.mode to "auto", ` +
      "or put a proxy in front and name it in server.trusted_proxies",
  ];
}
