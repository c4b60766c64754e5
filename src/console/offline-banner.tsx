import { useEffect, useState } from "react";
import type { ClientState } from "../client/connection.ts";

/** A loss that is repaired at once is not worth a word. */
const PATIENCE_MS = 700;

export function OfflineBanner({ link }: { readonly link: ClientState }) {
  const lost = link.state !== "connected";
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (!lost) return undefined;
    const timer = setTimeout(() => setShown(true), PATIENCE_MS);
    return () => {
      clearTimeout(timer);
      setShown(false);
    };
  }, [lost]);
  return (
    <div role="status" className="banner-place">
      {shown && (
        <p className="banner">
          <strong>No connection.</strong> Trying again; what you write is sent when it is back.
        </p>
      )}
    </div>
  );
}
