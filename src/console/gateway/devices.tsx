import { useState } from "react";
import type { ResultFor } from "../../client/methods.ts";
import { useAsked } from "../asked.ts";
import { Dialog } from "../dialog.tsx";
import { useHome } from "../home-context.ts";
import { PairingRequest } from "./pairing-request.tsx";
import { Problem } from "./problem.tsx";
import { Table } from "./table.tsx";
import { When } from "./when.tsx";

type Device = ResultFor<"device.list">["devices"][number];
/** Requests come from elsewhere, and no event tells of them. */
const LOOK_MS = 3_000;

/** Devices, and the ones that ask to be let in. `code`: the one a QR code led here for. */
export function Devices({ code }: { readonly code: string | null }) {
  const { client, may } = useHome();
  const { data, error, again } = useAsked("device.list", {}, LOOK_MS);
  const [revoking, setRevoking] = useState<Device | null>(null);
  if (data === null) return <Problem error={error} />;
  return (
    <>
      <Problem error={error} />
      {code !== null && !data.pairing_requests.some((request) => sameCode(request.code, code)) && (
        <p className="notice" role="status">
          Nobody asks with the code {code} now: it was answered, or has expired.
        </p>
      )}
      {data.pairing_requests.map((request) => (
        <PairingRequest key={request.code} request={request} onAnswered={again} is_admin={may("admin")} />
      ))}
      <h2>Devices</h2>
      {data.devices.length === 0 ? (
        <p className="hint">
          None yet. A browser asks on its sign-in page, another machine with <code>agentbus device pair</code>
          .
        </p>
      ) : (
        <DeviceTable devices={data.devices} onRevoke={setRevoking} />
      )}
      {revoking !== null && (
        <Dialog
          title={`Revoke ${nameOf(revoking)}?`}
          action="Revoke"
          danger
          onConfirm={async () => {
            await client.request("device.revoke", { device_id: revoking.device_id });
            again();
          }}
          onClose={() => setRevoking(null)}
        >
          <p>Its connections end at once, and it has to be paired anew.</p>
        </Dialog>
      )}
    </>
  );
}

interface DeviceTableProps {
  readonly devices: readonly Device[];
  readonly onRevoke: (device: Device) => void;
}

function DeviceTable({ devices, onRevoke }: DeviceTableProps) {
  return (
    <Table label="Devices" head={["Name", "User", "Scopes", "Last used", ""]}>
      {devices.map((device) => (
        <tr key={device.device_id}>
          <td title={device.device_id}>{nameOf(device)}</td>
          <td>{device.user}</td>
          <td className="small">{device.scopes.join(", ")}</td>
          <td>
            <When ms={device.last_used_at} />
          </td>
          <td>
            <button type="button" onClick={() => onRevoke(device)}>
              Revoke…
            </button>
          </td>
        </tr>
      ))}
    </Table>
  );
}

function nameOf({ name, device_id }: Device): string {
  return name === "" ? device_id.slice(0, 12) : name;
}

function sameCode(one: string, other: string): boolean {
  const plain = (code: string): string => code.replaceAll(/[\s-]/g, "").toUpperCase();
  return plain(one) === plain(other);
}
