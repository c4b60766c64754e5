import { definePlugin } from "agentbus/plugin";

/**
 * Keeps what is private from models and from the log: in messages of users before they are stored, and in what tools
 * answer. A message with a private key in it is refused, whatever else it says.
 */

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/[\w.+-]+@[\w-]+(?:\.[\w-]+)+/g, "[e-mail]"],
  [/\b(?:sk|pk|rk|ghp|gho|xox[abp])[-_][A-Za-z0-9_-]{16,}/g, "[key]"],
  [/\b(?:\d[ -]?){13,19}\b/g, "[number]"],
];
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----/;

function redacted(text: string): string {
  return PATTERNS.reduce((so_far, [pattern, stands_in]) => so_far.replace(pattern, stands_in), text);
}

export default definePlugin({
  name: "redact",
  version: "1.0.0",
  description: "E-mail addresses, keys and card numbers are replaced before anybody reads them.",
  hooks: {
    before_message({ role, message }, { log }) {
      if (PRIVATE_KEY.test(message)) return { refuse: "it has a private key in it" };
      const without = redacted(message);
      if (without === message) return undefined;
      log.info({ role }, "something private was taken out of a message");
      return { message: without };
    },
    after_tool_call({ content }) {
      const without = redacted(content);
      return without === content ? undefined : { content: without };
    },
  },
});
