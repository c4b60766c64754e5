import { Icon } from "../icon.tsx";
import type { Uploads } from "./uploads.ts";
import { sizeOf } from "./uploads.ts";

/** What goes along with the next message. */
export function UploadList({ uploads }: { readonly uploads: Uploads }) {
  if (uploads.list.length === 0) return null;
  return (
    <ul className="uploads" aria-label="Attached">
      {uploads.list.map(({ key, name, bytes, state, problem }) => (
        <li key={key} className={state}>
          <span className="name">{name}</span>
          <span className="note" role={state === "failed" ? "alert" : undefined}>
            {state === "failed" ? problem : state === "uploading" ? "uploading…" : sizeOf(bytes)}
          </span>
          {state === "failed" && (
            <button
              type="button"
              className="quiet"
              aria-label={`Try ${name} again`}
              onClick={() => uploads.retry(key)}
            >
              Try again
            </button>
          )}
          <button
            type="button"
            className="quiet icon-only"
            aria-label={`Remove ${name}`}
            onClick={() => uploads.remove(key)}
          >
            <Icon name="close" />
          </button>
        </li>
      ))}
    </ul>
  );
}
