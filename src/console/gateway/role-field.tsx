const ROLES = ["viewer", "user", "operator", "admin"] as const;
export type Role = (typeof ROLES)[number];

interface RoleFieldProps {
  readonly role: Role;
  readonly onChange: (role: Role) => void;
}

export function RoleField({ role, onChange }: RoleFieldProps) {
  return (
    <label className="field">
      <span>Role</span>
      <select
        value={role}
        onChange={({ target }) => onChange(ROLES.find((each) => each === target.value) ?? "user")}
      >
        {ROLES.map((each) => (
          <option key={each}>{each}</option>
        ))}
      </select>
    </label>
  );
}
