import { useState } from "react";
import type { ResultFor } from "../../client/methods.ts";
import { useAsked } from "../asked.ts";
import { Problem } from "./problem.tsx";
import { Table } from "./table.tsx";
import { When } from "./when.tsx";

type Entry = ResultFor<"audit.list">["entries"][number];

const PAGE = 50;

/** Who did what, newest first. */
export function Audit() {
  const [action, setAction] = useState("");
  const [refused, setRefused] = useState(false);
  /** Where the pages begin that one came through. */
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const cursor = cursors.at(-1);
  const is_action = /^[a-z_]{1,32}([.][a-z_]{1,32})?$/.test(action);
  const { data, error } = useAsked("audit.list", {
    limit: PAGE,
    ...(cursor !== undefined && { cursor }),
    ...(is_action && { action }),
    ...(refused && { outcome: "refused" }),
  });
  const next = data?.next;
  return (
    <>
      <Problem error={error} />
      <div className="bar">
        <label>
          <span className="unseen">Action</span>
          <input
            type="search"
            placeholder="Action, as in token or login"
            value={action}
            onChange={({ target }) => {
              setAction(target.value.trim());
              setCursors([]);
            }}
          />
        </label>
        <label className="check">
          <input
            type="checkbox"
            checked={refused}
            onChange={({ target }) => {
              setRefused(target.checked);
              setCursors([]);
            }}
          />
          Refused only
        </label>
      </div>
      {data !== null && (
        <Table label="Audit" head={["When", "Action", "Outcome", "User", "From", "What"]}>
          {data.entries.map((entry) => (
            <AuditRow key={entry.audit_id} entry={entry} />
          ))}
        </Table>
      )}
      <div className="bar">
        <button
          type="button"
          disabled={cursors.length === 0}
          onClick={() => setCursors(cursors.slice(0, -1))}
        >
          Newer
        </button>
        <button
          type="button"
          disabled={next === undefined}
          onClick={() => next !== undefined && setCursors([...cursors, next])}
        >
          Older
        </button>
      </div>
    </>
  );
}

function AuditRow({ entry }: { readonly entry: Entry }) {
  const { ts, action, outcome, user, method, transport, remote, target, details, count } = entry;
  return (
    <tr>
      <td>
        <When ms={ts} />
      </td>
      <td>
        <code>{action}</code>
        {count > 1 && <span className="small"> ×{count}</span>}
      </td>
      <td className={outcome === "ok" ? "good" : "bad"}>{outcome}</td>
      <td>
        {user === "" ? "nobody" : user}
        <span className="small"> {method}</span>
      </td>
      <td>
        {remote}
        <span className="small"> {transport}</span>
      </td>
      <td className="small">
        {target}
        {details !== undefined && <> {JSON.stringify(details)}</>}
      </td>
    </tr>
  );
}
