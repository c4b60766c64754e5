import { useEffect, useState } from "react";
import type { FoldedMessage } from "../../client/change.ts";
import { useHome } from "../home-context.ts";
import { Icon } from "../icon.tsx";
import { save } from "../save.ts";
import { sizeOf } from "./uploads.ts";

type Part = FoldedMessage["parts"][number];
type Image = Extract<Part, { readonly type: "image" }>;
type File = Extract<Part, { readonly type: "file" }>;

/** The files of a message. */
export function Attached({ message }: { readonly message: FoldedMessage }) {
  const files = message.parts.filter((part) => part.type === "image" || part.type === "file");
  if (files.length === 0) return null;
  return (
    <div className="attached">
      {files.map((part) =>
        part.type === "image" ? (
          <Picture key={part.attachment_id} part={part} session_id={message.session_id} />
        ) : (
          <FileButton key={part.attachment_id} part={part} session_id={message.session_id} />
        ),
      )}
    </div>
  );
}

function Picture({ part, session_id }: { readonly part: Image; readonly session_id: string }) {
  const { files } = useHome();
  const { attachment_id, name, width, height } = part;
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    let wanted = true;
    files.picture(session_id, attachment_id).then(
      (found) => wanted && setUrl(found),
      () => undefined,
    );
    return () => void (wanted = false);
  }, [files, session_id, attachment_id]);
  // Its place is there before it is, so that nothing jumps.
  if (url === null)
    return <svg className="picture" width={width} height={height} aria-label={name} role="img" />;
  return <img className="picture" src={url} alt={name} width={width} height={height} />;
}

function FileButton({ part, session_id }: { readonly part: File; readonly session_id: string }) {
  const { files } = useHome();
  const { attachment_id, name, bytes } = part;
  return (
    <button
      type="button"
      onClick={() =>
        void files.read(session_id, attachment_id).then(
          (blob) => save(name, blob),
          () => undefined,
        )
      }
    >
      <Icon name="clip" />
      {name}
      <span className="note">{sizeOf(bytes)}</span>
    </button>
  );
}
