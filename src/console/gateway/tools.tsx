import { useAsked } from "../asked.ts";
import { Problem } from "./problem.tsx";
import { Table } from "./table.tsx";

const LOOK_MS = 10_000;

export function Tools() {
  const { data, error } = useAsked("tool.list", {}, LOOK_MS);
  if (data === null) return <Problem error={error} />;
  return (
    <>
      <Problem error={error} />
      {data.servers.length > 0 && (
        <>
          <h2>Servers</h2>
          <Table label="Servers" head={["Name", "State", "Tools"]}>
            {data.servers.map(({ name, state, reason, tools }) => (
              <tr key={name}>
                <td>{name}</td>
                <td className={state === "failed" ? "bad" : "good"}>
                  {state}
                  {reason !== undefined && <span className="small"> {reason}</span>}
                </td>
                <td>{tools}</td>
              </tr>
            ))}
          </Table>
        </>
      )}
      <h2>Tools</h2>
      {data.tools.length === 0 ? (
        <p className="hint">
          None. <code>tools.builtin</code> and <code>mcp.servers</code> in the configuration add some.
        </p>
      ) : (
        <Table label="Tools" head={["Name", "From", "When called", "What it does"]}>
          {data.tools.map(({ name, source, policy, description }) => (
            <tr key={name}>
              <td>
                <code>{name}</code>
              </td>
              <td>{source}</td>
              <td>{policy}</td>
              <td className="small">{description}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}
