import type { ClipboardEvent, DragEvent, FormEvent, KeyboardEvent } from "react";
import { useEffect, useRef, useState } from "react";
import type { ClientSession } from "../../client/session.ts";
import type { SessionSnapshot } from "../../client/state.ts";
import { useHome } from "../home-context.ts";
import { Icon } from "../icon.tsx";
import type { OnBusy } from "./busy.tsx";
import { Busy } from "./busy.tsx";
import { ModelPicker } from "./model-picker.tsx";
import { sendMessage } from "./sending.ts";
import { UploadList } from "./upload-list.tsx";
import type { Uploads } from "./uploads.ts";
import { useUploads } from "./uploads.ts";

interface ComposerProps {
  readonly session: ClientSession;
  /** Null: the session does not exist yet. */
  readonly snapshot: SessionSnapshot | null;
  readonly onSent: (() => void) | null;
}

export function Composer({ session, snapshot, onSent }: ComposerProps) {
  const { client, files, may } = useHome();
  const [text, setText] = useState("");
  const [model, setModel] = useState("");
  const [on_busy, setOnBusy] = useState<OnBusy>("queue");
  const field = useGrowing(text);
  const uploads = useUploads(files);
  if (!may("chat.write")) return null;

  const active = snapshot?.runs.filter(({ status }) => status === "running" || status === "queued") ?? [];
  const queued = active.filter(({ status }) => status === "queued").length;
  const attachments = uploads.list.flatMap(({ attachment }) => attachment?.attachment_id ?? []);
  const uploading = uploads.list.some(({ state }) => state === "uploading");
  const failed = uploads.list.some(({ state }) => state === "failed");
  const empty = text.trim() === "" && uploads.list.length === 0;
  const [wanted, setWanted] = useState(false);

  function send(event?: FormEvent): void {
    event?.preventDefault();
    if (empty || uploading) return;
    if (failed) return setWanted(true);
    sendMessage(session, text.trim(), {
      ...(active.length > 0 && { on_busy }),
      ...(model !== "" && { model }),
      ...(attachments.length > 0 && { attachments }),
    });
    setText("");
    uploads.clear();
    onSent?.();
  }
  function onKey(event: KeyboardEvent): void {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  }
  const onModel = (next: string): void => {
    if (snapshot === null) setModel(next);
    else
      void client
        .request("session.update", { session_id: session.session_id, model: next })
        .catch(() => undefined);
  };
  return (
    <form className="composer" onSubmit={send} aria-label="Write" {...dropsInto(uploads)}>
      {active.length > 0 && <Busy session={session} queued={queued} on_busy={on_busy} onChange={setOnBusy} />}
      <div className="box">
        <UploadList uploads={uploads} />
        <Refused shown={wanted && failed} />
        <label className="unseen" htmlFor="message">
          Message
        </label>
        <textarea
          id="message"
          ref={field}
          rows={1}
          placeholder="Write a message"
          value={text}
          onChange={({ target }) => setText(target.value)}
          onKeyDown={onKey}
        />
        <div className="tools">
          <AttachButton uploads={uploads} />
          <ModelPicker chosen={snapshot?.session?.model ?? model} onChoose={onModel} />
          <span className="hint">Enter sends, Shift Enter breaks the line</span>
          <button type="submit" className="primary round" aria-label="Send" disabled={empty || uploading}>
            <Icon name="send" />
          </button>
        </div>
      </div>
    </form>
  );
}

/** A file that was chosen and not taken holds its message back, and that is said. */
function Refused({ shown }: { readonly shown: boolean }) {
  return (
    <p className="note problem" role="alert" hidden={!shown}>
      {shown && "Not sent: a file was not taken. Try it again, or remove it."}
    </p>
  );
}

function AttachButton({ uploads }: { readonly uploads: Uploads }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-label="Files"
        onChange={({ target }) => {
          uploads.add(target.files ?? []);
          target.value = "";
        }}
      />
      <button
        type="button"
        className="quiet icon-only"
        aria-label="Attach files"
        title="Attach files"
        onClick={() => input.current?.click()}
      >
        <Icon name="clip" />
      </button>
    </>
  );
}

/** Files that are dropped or pasted are attached. */
function dropsInto(uploads: Uploads) {
  return {
    onDragOver: (event: DragEvent): void => event.preventDefault(),
    onDrop: (event: DragEvent): void => {
      event.preventDefault();
      uploads.add(event.dataTransfer.files);
    },
    onPaste: (event: ClipboardEvent): void => {
      if (event.clipboardData.files.length === 0) return;
      event.preventDefault();
      uploads.add(event.clipboardData.files);
    },
  };
}

const MOST_PX = 260;

/** A field that has the keyboard at first, and is as high as what is written, up to a third of a screen. */
function useGrowing(text: string): React.RefObject<HTMLTextAreaElement | null> {
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => field.current?.focus(), []);
  useEffect(() => {
    const area = field.current;
    if (area === null) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, MOST_PX)}px`;
  }, [text]);
  return field;
}
