import { useState } from "react";
import { useAsked } from "../asked.ts";
import { Dialog } from "../dialog.tsx";
import { useHome } from "../home-context.ts";
import { Problem } from "./problem.tsx";
import { Table } from "./table.tsx";
import { When } from "./when.tsx";

const LOOK_MS = 4_000;

export function Connections() {
  const { client } = useHome();
  const { data, error, again } = useAsked("client.list", {}, LOOK_MS);
  const [closing, setClosing] = useState<{ readonly id: string; readonly name: string } | null>(null);
  if (data === null) return <Problem error={error} />;
  const own = client.hello?.server_info.connection_id;
  return (
    <>
      <Problem error={error} />
      <Table label="Connections" head={["Client", "User", "By", "From", "Since", "Last heard", ""]}>
        {data.clients.map((each) => {
          const name = each.client_name === "" ? each.client_id : each.client_name;
          return (
            <tr key={each.connection_id}>
              <td title={each.connection_id}>
                {name}
                {each.version !== "" && <span className="small"> {each.version}</span>}
                {each.connection_id === own && <span className="badge">this page</span>}
              </td>
              <td>{each.user}</td>
              <td>{each.transport}</td>
              <td>{each.remote}</td>
              <td>
                <When ms={each.connected_at} />
              </td>
              <td>
                <When ms={each.last_activity} />
              </td>
              <td>
                {each.connection_id !== own && (
                  <button type="button" onClick={() => setClosing({ id: each.connection_id, name })}>
                    Close…
                  </button>
                )}
              </td>
            </tr>
          );
        })}
      </Table>
      {closing !== null && (
        <Dialog
          title={`Close the connection of ${closing.name}?`}
          action="Close it"
          danger
          onConfirm={async () => {
            await client.request("client.disconnect", { connection_id: closing.id });
            again();
          }}
          onClose={() => setClosing(null)}
        >
          <p>It does not come back by itself; whoever it is may connect again.</p>
        </Dialog>
      )}
    </>
  );
}
