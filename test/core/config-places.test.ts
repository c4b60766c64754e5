import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { showConfig } from "../../src/config/print.ts";
import { HOME, load, refusal } from "./config.fixture.ts";

describe("places in the file system", () => {
  test("relative ones begin at the file, or where the variable was set; ~ is home", () => {
    const toml = '[server]\ndata_dir = "state"\ntls = { cert = "tls/cert.pem", key = "~/key.pem" }';
    const env = { AGENTBUS_SERVER_TLS_CLIENT_CA: "ca.pem" };
    const { config, cwd } = load({ files: { "conf/a.toml": toml }, file: "conf/a.toml", env });
    expect([config.server.data_dir, config.server.tls]).toEqual([
      join(cwd, "conf/state"),
      {
        mode: "",
        cert: join(cwd, "conf/tls/cert.pem"),
        key: join(HOME, "key.pem"),
        client_ca: join(cwd, "ca.pem"),
      },
    ]);
    const { skills } = load({ toml: '[skills]\ndirectories = ["mine", "~/skills", "/opt/skills"]' }).config;
    expect(skills.directories).toEqual([
      expect.stringMatching(/^\/.*\/mine$/),
      join(HOME, "skills"),
      "/opt/skills",
    ]);
    expect(load({ toml: '[server]\ndata_dir = "~/bus"' }).config.server.data_dir).toBe(join(HOME, "bus"));
  });
});

describe("server.tls", () => {
  test("is written in the section, as a table of its own, or as variables", () => {
    const modes = [
      load({ toml: '[server]\ntls = { mode = "auto" }' }),
      load({ toml: '[server.tls]\nmode = "AUTO"' }),
      load({ env: { AGENTBUS_SERVER_TLS_MODE: "auto" } }),
    ].map(({ config }) => config.server.tls.mode);
    expect(modes).toEqual(["auto", "auto", "auto"]);
  });

  test("is shown as what can be read again", () => {
    const { config, sources } = load({ toml: '[server]\ntls = { cert = "/c", key = "/k" }' });
    const shown = Bun.TOML.parse(showConfig(config, sources));
    expect(shown).toMatchObject({ server: { tls: { mode: "", cert: "/c", key: "/k", client_ca: "" } } });
    expect(showConfig(config, sources)).toMatch(
      /\[server\.tls\]\nmode = "" +# default\ncert = "\/c" +# file/,
    );
  });

  test.each<[string, string]>([
    ['cert = "c"', "agentbus.toml: server.tls.cert: the key is missing: set server.tls.key"],
    ['key = "k"', "agentbus.toml: server.tls.key: the certificate is missing: set server.tls.cert"],
    [
      'mode = "auto"\ncert = "c"\nkey = "k"',
      'agentbus.toml: server.tls.mode: "auto" makes a certificate of its own: remove server.tls.cert, or the mode',
    ],
    [
      'client_ca = "a"',
      'agentbus.toml: server.tls.client_ca: without TLS nobody is asked for a certificate: set server.tls.cert and key, or mode = "auto"',
    ],
    ['mode = "on"', 'agentbus.toml: server.tls.mode: it must be "" or auto, not "on"'],
    [
      'certt = "c"',
      "agentbus.toml: server.tls.certt: there is no such option; did you mean server.tls.cert?",
    ],
    [
      "auto = true",
      "agentbus.toml: server.tls.auto: there is no such option; [server.tls] has mode, cert, key, client_ca",
    ],
  ])("%p is refused in one line", (toml, line) => {
    expect(refusal({ toml: `[server.tls]\n${toml}` })).toBe(line);
  });

  test("who listens to the network without it is told, unless a proxy stands in front", () => {
    const warned = (toml: string): boolean =>
      load({ toml }).warnings.some((warning) => warning.includes("without TLS"));
    const open = '[server]\nhost = "0.0.0.0"\n';
    expect(warned(open)).toBe(true);
    expect(warned('[gateway]\nbind = "192.168.1.5:1"')).toBe(true);
    expect(warned('[server]\nhost = "100.128.1.2"')).toBe(true);
    expect(warned("")).toBe(false);
    // What comes over a tailnet is encrypted by that.
    expect(warned('[server]\nhost = "100.101.102.103"')).toBe(false);
    expect(warned('[server]\nhost = "fd7a:115c:a1e0::1"')).toBe(false);
    expect(warned(`${open}tls = { mode = "auto" }`)).toBe(false);
    expect(warned(`${open}trusted_proxies = ["10.0.0.1"]`)).toBe(false);
    expect(warned(`${open}public_url = "https://bus.example.com"`)).toBe(false);
  });
});
