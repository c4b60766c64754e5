import { expect, test } from "bun:test";
import { agentbus, workplace } from "../support/executable.ts";

/**
 * A configuration that cannot be used ends with the exit code after which no service manager tries again; another file that it names
 * may be there the next time.
 */
test.each([
  ["a key that is none", 2, "[server]\nprot = 1\n", /agentbus\.toml.*did you mean/],
  ["options against each other", 2, '[server]\nhost = "0.0.0.0"\n[auth]\nmode = "none"\n', /auth\.mode/],
  ["a missing certificate", 1, '[server]\ntls = { cert = "no.pem", key = "no.key" }\n', /no\.pem/],
  ["a secret that is not there yet", 1, '[auth]\ntoken_file = "no.token"\n', /no\.token/],
])("serve with %s exits with %d, and one line", async (_, exit, text, why) => {
  using place = workplace();
  place.file("agentbus.toml", text);
  const argv = ["serve", "--port", "0", "--data-dir", "data"];
  const { code, out, err } = await agentbus(argv, { cwd: place.path });
  expect([code, out]).toEqual([exit, ""]);
  expect(err).toMatch(/^agentbus: [^\n]+\n$/);
  expect(err).toMatch(why);
});
