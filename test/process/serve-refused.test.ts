import { expect, test } from "bun:test";
import { agentbus, workplace } from "../support/executable.ts";

/** A configuration that cannot be used ends with the exit code after which no service manager tries again. */
test.each([
  ["a key that is none", "[server]\nprot = 1\n", /agentbus\.toml.*did you mean/],
  ["options against each other", '[server]\nhost = "0.0.0.0"\n[auth]\nmode = "none"\n', /auth\.mode/],
  ["a missing certificate", '[server]\ntls = { cert = "no.pem", key = "no.key" }\n', /no\.pem/],
])("serve with %s exits with 2, and one line", async (_, text, why) => {
  using place = workplace();
  place.file("agentbus.toml", text);
  const argv = ["serve", "--port", "0", "--data-dir", "data"];
  const { code, out, err } = await agentbus(argv, { cwd: place.path });
  expect([code, out]).toEqual([2, ""]);
  expect(err).toMatch(/^agentbus: [^\n]+\n$/);
  expect(err).toMatch(why);
});
