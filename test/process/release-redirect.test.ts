import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { installerOf } from "../../scripts/release-installer.ts";
import type { MadeCertificate } from "../support/certificates.ts";
import { makeCertificate } from "../support/certificates.ts";
import { workplace } from "../support/executable.ts";
import { needs } from "../support/needs.ts";
import type { Published } from "../support/release.ts";
import { newKey, publish, scriptArchive } from "../support/release.ts";

/** Where the installer lets itself be led, with either of the programs it fetches with. */

const SCRIPT = readFileSync(join(import.meta.dir, "../../scripts/install.sh"), "utf8");
const TOOLS = "sh id uname getconf ldd awk cut tar gzip mkdir mktemp rm mv chmod grep sha256sum";
const ready = process.platform === "linux" && needs("openssl", "openssl");
const key = newKey();
const place = workplace();
let certificate: MadeCertificate;
let site: Published;
let server: Bun.Server<undefined>;

beforeAll(() => {
  if (!ready) return;
  certificate = makeCertificate(place.path, "releases");
  site = publish();
  const target = process.arch === "arm64" ? "linux-arm64" : "linux-x64";
  site.put("0.4.0", scriptArchive("0.4.0", target, "echo agentbus 0.4.0"), key);
  const { cert, key: secret } = certificate;
  server = Bun.serve({ hostname: "127.0.0.1", port: 0, tls: { cert, key: secret }, fetch: lead });
});
afterAll(() => {
  void server?.stop(true);
  site?.[Symbol.dispose]();
  place[Symbol.dispose]();
});

/** `/on` leads to the files over TLS, `/out` to the same files without. */
function lead(request: Request): Response | Promise<Response> {
  const { origin, pathname } = new URL(request.url);
  const [, way, ...path] = pathname.split("/");
  const file = path.join("/");
  if (way === "files") return fetch(`${site.url}/${file}`);
  return Response.redirect(way === "on" ? `${origin}/files/${file}` : `${site.url}/${file}`);
}

/** The installer with nothing but what it needs, and one program to fetch with. */
async function install(fetcher: string, way: string) {
  using own = workplace();
  const path = join(own.path, "path");
  mkdirSync(path);
  for (const tool of [...TOOLS.split(" "), fetcher]) {
    const found = Bun.which(tool);
    if (found !== null) symlinkSync(found, join(path, tool));
  }
  const script = own.file("install.sh", installerOf(SCRIPT, { keys: [key.public], base_url: "" }));
  const child = Bun.spawn(["sh", script], {
    env: {
      PATH: path,
      HOME: own.path,
      AGENTBUS_PREFIX: own.path,
      AGENTBUS_BASE_URL: `https://127.0.0.1:${server.port}/${way}`,
      CURL_CA_BUNDLE: certificate.cert_file,
      WGETRC: own.file("wgetrc", `ca_certificate = ${certificate.cert_file}\n`),
    },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const said = await new Response(child.stderr).text();
  return { code: await child.exited, said, is_there: existsSync(join(own.path, "bin/agentbus")) };
}

describe.each(["curl", "wget"])("%s", (fetcher) => {
  test.skipIf(!ready || !needs(fetcher, fetcher))(
    "follows from https to https, and not to http",
    async () => {
      expect(await install(fetcher, "on")).toMatchObject({ code: 0, is_there: true });
      const out = await install(fetcher, "out");
      expect(out).toMatchObject({ code: 1, is_there: false });
      expect(out.said).toContain("nothing was installed");
      expect(out.said).toMatch(/from https to http|protocol/i);
    },
  );
});
