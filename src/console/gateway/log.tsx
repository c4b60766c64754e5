import { useEffect, useState } from "react";
import type { ResultFor } from "../../client/methods.ts";
import { told } from "../door.ts";
import { useHome } from "../home-context.ts";
import { Problem } from "./problem.tsx";
import { Table } from "./table.tsx";
import { When } from "./when.tsx";

type Line = ResultFor<"log.tail">["lines"][number];
type Level = Line["level"];

const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];
const EVERY_MS = 2_000;
/** Lines that are shown. */
const KEPT = 500;

interface Seen {
  readonly lines: readonly Line[];
  /** Some were lost in between: too many came at once. */
  readonly gap: boolean;
  readonly error: string | null;
}
const NOTHING: Seen = { lines: [], gap: false, error: null };

/** What the gateway writes, as it writes it, the newest first. */
export function Log() {
  const [level, setLevel] = useState<Level>("info");
  const [component, setComponent] = useState("");
  const [paused, setPaused] = useState(false);
  const part = /^[a-z_-]{1,32}$/.test(component) ? component : "";
  return (
    <>
      <div className="bar">
        <label>
          <span className="unseen">At least</span>
          <select value={level} onChange={({ target }) => setLevel(target.value as Level)}>
            {LEVELS.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        <label>
          <span className="unseen">Component</span>
          <input
            type="search"
            placeholder="Component, as in store"
            value={component}
            onChange={({ target }) => setComponent(target.value.trim())}
          />
        </label>
        <label className="check">
          <input type="checkbox" checked={paused} onChange={({ target }) => setPaused(target.checked)} />
          Hold
        </label>
      </div>
      <Lines key={`${level} ${part}`} level={level} component={part} paused={paused} />
    </>
  );
}

interface LinesProps {
  readonly level: Level;
  readonly component: string;
  readonly paused: boolean;
}

function Lines({ level, component, paused }: LinesProps) {
  const seen = useLines(level, component, paused);
  return (
    <>
      <Problem error={seen.error} />
      {seen.gap && <p className="hint">Some lines are missing: more came than are kept.</p>}
      <Table label="Log" head={["When", "Level", "What", "With"]}>
        {seen.lines.map((line) => (
          <LogRow key={line.seq} line={line} />
        ))}
      </Table>
    </>
  );
}

function LogRow({ line: { ts, level, message, component, fields } }: { readonly line: Line }) {
  return (
    <tr>
      <td>
        <When ms={ts} />
      </td>
      <td className={level === "error" || level === "warn" ? "bad" : undefined}>{level}</td>
      <td>
        {message}
        {component !== undefined && <span className="small"> {component}</span>}
      </td>
      <td className="small">{Object.keys(fields).length > 0 && <code>{JSON.stringify(fields)}</code>}</td>
    </tr>
  );
}

/** The newest first; asked for again and again, unless it is held. */
function useLines(level: Level, component: string, paused: boolean): Seen {
  const { client } = useHome();
  const [seen, setSeen] = useState<Seen>(NOTHING);
  useEffect(() => {
    if (paused) return undefined;
    let wanted = true;
    let after: number | undefined;
    const look = async (): Promise<void> => {
      const params = {
        level,
        ...(component !== "" && { component }),
        ...(after !== undefined && { after }),
      };
      try {
        const { lines, next, gap } = await client.request("log.tail", params);
        if (!wanted) return;
        const isFirst = after === undefined;
        after = next;
        setSeen((before) => ({
          lines: [...lines.toReversed(), ...(isFirst ? [] : before.lines)].slice(0, KEPT),
          gap: (before.gap && !isFirst) || gap,
          error: null,
        }));
      } catch (error) {
        if (wanted) setSeen((before) => ({ ...before, error: told(error) }));
      }
    };
    void look();
    const timer = setInterval(() => void look(), EVERY_MS);
    return () => {
      wanted = false;
      clearInterval(timer);
    };
  }, [client, level, component, paused]);
  return seen;
}
