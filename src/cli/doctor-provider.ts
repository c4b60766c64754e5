import { shownAddress } from "../config/print.ts";
import { headersOf, urlOf } from "../core/endpoint.ts";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";

type Llm = Config["llm"];

const TIMEOUT_MS = 5_000;
const OPENAI_URL = "https://api.openai.com/v1";
/** Clocks that differ by more than this make logins and expiries go wrong. */
const SKEW_MS = 5 * 60_000;
/** A clock before this was never set: the program did not exist yet. */
const EARLIEST = Date.UTC(2025, 0, 1);

/** Every provider that can be used, asked once. `date` is the time one of them gave, to compare the clock with. */
export async function checkProviders(llm: Llm): Promise<{ findings: Finding[]; date: number | null }> {
  const check = "provider";
  const sections = Object.entries(llm.providers);
  const usable = sections.filter(([, section]) => keyOf(section) !== "" || !isOpenAi(section.base_url));
  const asked = await Promise.all(usable.map(([name, section]) => askProvider(name, section)));
  const findings = asked.map(({ finding }) => finding);
  const chosen = llm.default_provider;
  if (chosen !== "" && chosen !== "demo" && !usable.some(([name]) => name === chosen)) {
    const advice = `set ${chosen.toUpperCase()}_API_KEY, llm.providers.${chosen}.api_key, or another llm.default_provider`;
    findings.push({ check, state: "failed", finding: `${chosen} is chosen and has no API key`, advice });
  }
  if (chosen === "demo" || (chosen === "" && usable.length === 0)) {
    const finding = "the demo model answers, offline";
    findings.push({ check, state: "warning", finding, advice: "agentbus init chooses a real one" });
  }
  return { findings, date: asked.find(({ date }) => date !== null)?.date ?? null };
}

/**
 * @param date the time of somebody else, to compare with; null: nobody was asked
 * @param written when the database was written last; null: there is none
 */
export function checkClock(date: number | null, written: number | null): Finding {
  const check = "clock";
  const now = Date.now();
  const advice = "set the clock, for example with systemd-timesyncd or chrony";
  const shown = new Date(now).toISOString();
  if (now < EARLIEST) return { check, state: "failed", finding: `it says ${shown}`, advice };
  if (written !== null && written - now > SKEW_MS) {
    const finding = `it says ${shown}, and the database was written at ${new Date(written).toISOString()}: it went back`;
    return { check, state: "warning", finding, advice };
  }
  if (date === null) return { check, state: "ok", finding: shown };
  const skew = Math.abs(now - date);
  if (skew <= SKEW_MS) return { check, state: "ok", finding: `${shown}, as the provider's` };
  const minutes = Math.round(skew / 60_000);
  return { check, state: "warning", finding: `it is ${minutes} minutes off the provider's`, advice };
}

async function askProvider(
  name: string,
  section: Llm["providers"][string],
): Promise<{ finding: Finding; date: number | null }> {
  const check = "provider";
  const key = keyOf(section);
  const shown = shownAddress(section.base_url);
  try {
    // Where the address has the model in it, any will do: that somebody answers is what counts.
    const began = performance.now();
    const response = await fetch(urlOf(section, "/models", "any"), {
      // The key would go along.
      redirect: "manual",
      headers: headersOf(section, key),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const took_ms = Math.round(performance.now() - began);
    await response.body?.cancel();
    const date = Date.parse(response.headers.get("date") ?? "") || null;
    return { finding: judge(name, `${shown} in ${took_ms} ms`, response.status), date };
  } catch (error) {
    const advice = `check llm.providers.${name}.base_url, the network and any proxy`;
    const finding = `${name} cannot be reached at ${shown}: ${(error as Error).message}`;
    return { finding: { check, state: "failed", finding, advice }, date: null };
  }
}

function judge(name: string, shown: string, status: number): Finding {
  const check = "provider";
  if (status >= 300 && status < 400) {
    const finding = `${name} answers with a redirect (HTTP ${status})`;
    return {
      check,
      state: "failed",
      finding,
      advice: `set llm.providers.${name}.base_url to where it leads`,
    };
  }
  if (status === 401 || status === 403) {
    const advice = `put a key that works in llm.providers.${name}.api_key`;
    return { check, state: "failed", finding: `${name} refuses its API key (HTTP ${status})`, advice };
  }
  if (status >= 500) {
    const advice = "it may be down for a moment: try again, or set llm.fallback";
    return { check, state: "warning", finding: `${name} answers HTTP ${status}`, advice };
  }
  // Not every server lists its models; that it answered is what counts.
  return { check, state: "ok", finding: `${name} answers at ${shown}` };
}

function keyOf(section: Llm["providers"][string]): string {
  return section.api_key || (section.api_keys?.[0] ?? "");
}

function isOpenAi(base_url: string): boolean {
  return base_url.replace(/\/+$/, "") === OPENAI_URL;
}
