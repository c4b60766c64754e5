import { useState } from "react";
import { Dialog } from "../dialog.tsx";
import { useHome } from "../home-context.ts";
import type { Role } from "./role-field.tsx";
import { RoleField } from "./role-field.tsx";

const DAY_SECS = 86_400;
const LIVES: readonly [string, number][] = [
  ["without end", 0],
  ["a day", DAY_SECS],
  ["30 days", 30 * DAY_SECS],
  ["a year", 365 * DAY_SECS],
];

interface NewTokenProps {
  readonly onMade: (secret: string) => void;
  readonly onClose: () => void;
}

export function NewToken({ onMade, onClose }: NewTokenProps) {
  const { client, user: own } = useHome();
  const [name, setName] = useState("");
  const [user, setUser] = useState(own);
  const [role, setRole] = useState<Role>("user");
  const [secs, setSecs] = useState(0);
  async function make(): Promise<void> {
    const { token } = await client.request("token.create", {
      name: name.trim(),
      user: user.trim(),
      role,
      ...(secs > 0 && { expires_in_secs: secs }),
    });
    onMade(token);
  }
  return (
    <Dialog title="New token" action="Make it" onConfirm={make} onClose={onClose}>
      <label className="field">
        <span>Name</span>
        <input
          type="text"
          required
          autoFocus
          maxLength={64}
          value={name}
          onChange={({ target }) => setName(target.value)}
        />
      </label>
      <label className="field">
        <span>User</span>
        <input type="text" required value={user} onChange={({ target }) => setUser(target.value)} />
      </label>
      <RoleField role={role} onChange={setRole} />
      <label className="field">
        <span>Good for</span>
        <select value={secs} onChange={({ target }) => setSecs(Number(target.value))}>
          {LIVES.map(([label, value]) => (
            <option key={label} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
    </Dialog>
  );
}
