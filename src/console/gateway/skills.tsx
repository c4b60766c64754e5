import { useEffect, useState } from "react";
import type { ResultFor } from "../../client/methods.ts";
import { useAsked } from "../asked.ts";
import { told } from "../door.ts";
import { useHome } from "../home-context.ts";
import { Problem } from "./problem.tsx";
import { Table } from "./table.tsx";

type Skill = ResultFor<"skill.list">["skills"][number];

export function Skills() {
  const { client, may } = useHome();
  const { data, error, again } = useAsked("skill.list", {});
  const [said, setSaid] = useState("");
  useEffect(() => client.on("skill.changed", again), [client, again]);
  if (data === null) return <Problem error={error} />;

  async function reload(): Promise<void> {
    const { changed } = await client.request("skill.reload", {});
    setSaid(changed.length === 0 ? "Nothing has changed." : `Changed: ${changed.join(", ")}`);
    again();
  }
  return (
    <>
      <Problem error={error} />
      <div className="bar">
        <p className="hint" role="status">
          {said}
        </p>
        {may("admin") && (
          <button type="button" onClick={() => void reload().catch((cause: unknown) => setSaid(told(cause)))}>
            Look again
          </button>
        )}
      </div>
      {data.skills.length === 0 ? (
        <p className="hint">None. A skill is a folder with a SKILL.md in one of the directories below.</p>
      ) : (
        <Table label="Skills" head={["Name", "State", "What it is for"]}>
          {data.skills.map((skill) => (
            <SkillRow key={`${skill.directory}/${skill.name}`} skill={skill} />
          ))}
        </Table>
      )}
      <h2>Directories</h2>
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
    </>
  );
}

function SkillRow({ skill }: { readonly skill: Skill }) {
  const { name, state, reason, description, directory } = skill;
  return (
    <tr>
      <td title={directory}>{name}</td>
      <td className={state === "ready" ? "good" : state === "shadowed" ? undefined : "bad"}>
        {state}
        {reason !== undefined && <span className="small"> {reason}</span>}
      </td>
      <td className="small">{description}</td>
    </tr>
  );
}
