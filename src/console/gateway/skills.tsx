import { useEffect } from "react";
import type { ResultFor } from "../../client/methods.ts";
import { useAsked } from "../asked.ts";
import { useHome } from "../home-context.ts";
import { LookAgain } from "./look-again.tsx";
import { Problem } from "./problem.tsx";
import { Table } from "./table.tsx";

type Skill = ResultFor<"skill.list">["skills"][number];

export function Skills() {
  const { client, may } = useHome();
  const { data, error, again } = useAsked("skill.list", {});
  useEffect(() => client.on("skill.changed", again), [client, again]);
  if (data === null) return <Problem error={error} />;

  async function reload() {
    const answer = await client.request("skill.reload", {});
    again();
    return answer;
  }
  return (
    <>
      <Problem error={error} />
      <LookAgain reload={reload} isOffered={may("admin")} />
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
