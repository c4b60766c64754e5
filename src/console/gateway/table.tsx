import type { ReactNode } from "react";

interface TableProps {
  readonly label: string;
  /** Names of the columns; an empty one holds buttons. */
  readonly head: readonly string[];
  /** Rows. */
  readonly children: ReactNode;
}

export function Table({ label, head, children }: TableProps) {
  return (
    <div className="table" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col">
                {name === "" ? <span className="unseen">Actions</span> : name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
