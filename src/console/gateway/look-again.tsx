import { useState } from "react";
import { told } from "../door.ts";

/** Has the gateway read its folders anew, and says which things have changed. `isOffered`: whoever may. */
export function LookAgain({
  reload,
  isOffered,
}: {
  readonly reload: () => Promise<{ readonly changed: readonly string[] }>;
  readonly isOffered: boolean;
}) {
  const [said, setSaid] = useState("");

  async function look(): Promise<void> {
    try {
      const { changed } = await reload();
      setSaid(changed.length === 0 ? "Nothing has changed." : `Changed: ${changed.join(", ")}`);
    } catch (cause) {
      setSaid(told(cause));
    }
  }
  return (
    <div className="bar">
      <p className="hint" role="status">
        {said}
      </p>
      {isOffered && (
        <button type="button" onClick={() => void look()}>
          Look again
        </button>
      )}
    </div>
  );
}
