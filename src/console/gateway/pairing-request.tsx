import { useState } from "react";
import type { ResultFor } from "../../client/methods.ts";
import { useHome } from "../home-context.ts";
import type { Role } from "./role-field.tsx";
import { RoleField } from "./role-field.tsx";
import { Problem } from "./problem.tsx";

type Request = ResultFor<"device.list">["pairing_requests"][number];

interface PairingRequestProps {
  readonly request: Request;
  readonly is_admin: boolean;
  readonly onAnswered: () => void;
}

/** A device that is not known, and the code it shows. */
export function PairingRequest({ request, is_admin, onAnswered }: PairingRequestProps) {
  const { client, user: own } = useHome();
  const { code, client_name, platform, remote } = request;
  const [role, setRole] = useState<Role>("user");
  const [name, setName] = useState(client_name === "" ? platform : client_name);
  const [user, setUser] = useState(own);
  const [problem, setProblem] = useState<string | null>(null);
  const answer = (work: Promise<unknown>): void => {
    work.then(onAnswered, (error: Error) => setProblem(error.message));
  };
  const approve = (): void =>
    answer(
      client.request("device.approve", {
        code,
        role,
        ...(name.trim() !== "" && { name: name.trim() }),
        ...(user !== own && { user }),
      }),
    );
  return (
    <section className="request" aria-label={`Request ${code}`}>
      <h2>A device asks to be let in</h2>
      <p className="pairing-code">{code}</p>
      <p className="hint">
        From {remote}
        {platform !== "" && `, ${platform}`}. Approve it only if the device itself shows this code.
      </p>
      <div className="fields">
        <label className="field">
          <span>Name</span>
          <input type="text" value={name} maxLength={64} onChange={({ target }) => setName(target.value)} />
        </label>
        <RoleField role={role} onChange={setRole} />
        {is_admin && (
          <label className="field">
            <span>User</span>
            <input type="text" value={user} onChange={({ target }) => setUser(target.value)} />
          </label>
        )}
      </div>
      <Problem error={problem} />
      <div className="actions">
        <button type="button" onClick={() => answer(client.request("device.reject", { code }))}>
          Reject
        </button>
        <button type="button" className="primary" onClick={approve}>
          Approve
        </button>
      </div>
    </section>
  );
}
