import { useState } from "react";
import { Icon } from "./icon.tsx";

const SHOWN_MS = 1_500;

/** Puts a text on the clipboard and says that it did. */
export function CopyButton({ text, label }: { readonly text: string; readonly label: string }) {
  const [done, setDone] = useState(false);
  async function copy(): Promise<void> {
    await navigator.clipboard.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), SHOWN_MS);
  }
  return (
    <button
      type="button"
      className="quiet icon-only"
      aria-label={done ? "Copied" : label}
      title={label}
      onClick={() => void copy().catch(() => undefined)}
    >
      <Icon name={done ? "check" : "copy"} />
    </button>
  );
}
