import type { Build } from "../src/build.ts";

/** install.sh with the keys and the place of this release in it. @throws where the script has no place for them */
export function installerOf(script: string, { keys, base_url }: Pick<Build, "keys" | "base_url">): string {
  return [
    ["@BASE_URL@", base_url],
    ["@PUBLIC_KEYS@", keys.join("\n")],
  ].reduce((text, [place = "", value = ""]) => {
    if (!text.includes(place)) throw new Error(`scripts/install.sh has no ${place}`);
    // Both stand between single quotes.
    if (value.includes("'")) throw new Error(`${value} cannot stand in a shell script`);
    return text.replaceAll(place, value);
  }, script);
}
