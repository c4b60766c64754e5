import { useAsked } from "../asked.ts";
import { useHome } from "../home-context.ts";
import { LookAgain } from "./look-again.tsx";
import { Problem } from "./problem.tsx";
import { Table } from "./table.tsx";

const LOOK_MS = 10_000;

export function Plugins() {
  const { client } = useHome();
  const { data, error, again } = useAsked("plugin.list", {}, LOOK_MS);
  if (data === null) return <Problem error={error} />;

  async function reload() {
    const answer = await client.request("plugin.reload", {});
    again();
    return answer;
  }
  return (
    <>
      <Problem error={error} />
      <LookAgain reload={reload} isOffered />
      {data.plugins.length === 0 ? (
        <p className="hint">None. A plug-in is a TypeScript file in one of the directories below.</p>
      ) : (
        <Table label="Plug-ins" head={["Name", "State", "Adds", "What it is for"]}>
          {data.plugins.map(({ name, version, state, reason, source, description, ...adds }) => (
            <tr key={source + name}>
              <td title={source}>
                {name}
                {version !== undefined && <span className="small"> {version}</span>}
              </td>
              <td className={state === "ready" ? "good" : "bad"}>
                {state}
                {reason !== undefined && <span className="small"> {reason}</span>}
              </td>
              <td className="small">{addsOf(adds)}</td>
              <td className="small">{description}</td>
            </tr>
          ))}
        </Table>
      )}
      <h2>Directories</h2>
      {data.directories.length === 0 ? (
        <p className="hint">None is looked at.</p>
      ) : (
        <Table label="Directories" head={["Directory", "State"]}>
          {data.directories.map(({ directory, found, reason }) => (
            <tr key={directory}>
              <td>
                <code>{directory}</code>
              </td>
              <td className={reason === undefined ? undefined : "bad"}>
                {reason ?? (found ? "looked at" : "not there")}
              </td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}

type Adds = Readonly<Record<"methods" | "tools" | "providers" | "routes" | "hooks", readonly string[]>>;

function addsOf({ methods, tools, providers, routes, hooks }: Adds): string {
  const kinds = Object.entries({ methods, tools, providers, routes, hooks });
  return kinds
    .flatMap(([kind, names]) => (names.length === 0 ? [] : `${kind}: ${names.join(", ")}`))
    .join("; ");
}
