import type { MadeCertificate } from "../support/certificates.ts";
import type { workplace } from "../support/executable.ts";
import { needs } from "../support/needs.ts";
import type { Filling, RunningProxy } from "../support/proxies.ts";
import { filled, nginxFilling, startHaproxy, startNginx } from "../support/proxies.ts";

const HAS_OPENSSL = needs("openssl", "openssl");
const HAS_NGINX = needs("nginx", "nginx") && HAS_OPENSSL;
const HAS_HAPROXY = needs("haproxy", "haproxy") && HAS_OPENSSL;

/** What an example is filled in with. */
export interface Site {
  readonly certificate: MadeCertificate;
  /** Of the nodes. */
  readonly ports: readonly number[];
  readonly folder: ReturnType<typeof workplace>;
}

/** A balancer of deploy/, before three nodes. */
export interface Balancer {
  readonly name: string;
  readonly isHere: boolean;
  /** Whether it asks the nodes how they are, so that nothing is sent to one that is about to stop. */
  readonly asks: boolean;
  readonly sticky: boolean;
  start(site: Site, port: number, spare: number): Promise<RunningProxy>;
}

function toNodes(ports: readonly number[]): Filling {
  return Object.fromEntries(ports.map((port, at) => [`10.0.0.1${at + 1}:18789`, `127.0.0.1:${port}`]));
}

function nginx(sticky: boolean): Balancer {
  return {
    name: `deploy/nginx/cluster.conf${sticky ? ", one node for a client" : ""}`,
    isHere: HAS_NGINX,
    asks: false,
    sticky,
    start({ certificate, ports }, port, spare) {
      const site = filled("deploy/nginx/cluster.conf", {
        ...nginxFilling(port, certificate),
        "listen 80;": `listen 127.0.0.1:${spare};`,
        "listen [::]:80;": "",
        ...(sticky && { "    least_conn;": "", "# hash $remote_addr": "hash $remote_addr" }),
        ...toNodes(ports),
      });
      return startNginx(site, port);
    },
  };
}

function haproxy(sticky: boolean): Balancer {
  return {
    name: `deploy/haproxy/agentbus.cfg${sticky ? ", one node for a client" : ""}`,
    isHere: HAS_HAPROXY,
    asks: true,
    sticky,
    start({ certificate, ports, folder }, port, spare) {
      const pem = folder.file("both.pem", `${certificate.cert}\n${certificate.key}`);
      const config = filled("deploy/haproxy/agentbus.cfg", {
        "/etc/haproxy/agent.example.com.pem": pem,
        "agent.example.com": "localhost",
        "maxconn 50000": "maxconn 500",
        "bind :80": `bind 127.0.0.1:${spare}`,
        "bind :443 ssl": `bind 127.0.0.1:${port} ssl`,
        // Who is not root changes to nobody else.
        ...(process.getuid?.() !== 0 && {
          "chroot /var/lib/haproxy": "",
          "user haproxy": "",
          "group haproxy": "",
        }),
        ...(sticky && { "    balance leastconn": "", "# balance source": "balance source" }),
        ...toNodes(ports),
      });
      return startHaproxy(config, port);
    },
  };
}

/** Each with and without a client's connections on one node. */
export const BALANCERS = [haproxy(false), haproxy(true), nginx(false), nginx(true)].filter(
  (each) => each.isHere,
);
