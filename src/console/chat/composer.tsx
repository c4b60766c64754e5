import type { FormEvent, KeyboardEvent } from "react";
import { useEffect, useRef, useState } from "react";
import type { ClientSession } from "../../client/session.ts";
import type { SessionSnapshot } from "../../client/state.ts";
import { useHome } from "../home-context.ts";
import { Icon } from "../icon.tsx";
import { ModelPicker } from "./model-picker.tsx";

interface ComposerProps {
  readonly session: ClientSession;
  /** Null: the session does not exist yet. */
  readonly snapshot: SessionSnapshot | null;
  readonly onSent: (() => void) | null;
}

type OnBusy = "queue" | "steer";

export function Composer({ session, snapshot, onSent }: ComposerProps) {
  const { client, may } = useHome();
  const [text, setText] = useState("");
  const [model, setModel] = useState("");
  const [on_busy, setOnBusy] = useState<OnBusy>("queue");
  const field = useGrowing(text);
  if (!may("chat.write")) return null;

  const active = snapshot?.runs.filter(({ status }) => status === "running" || status === "queued") ?? [];
  const queued = active.filter(({ status }) => status === "queued").length;

  function send(event?: FormEvent): void {
    event?.preventDefault();
    const message = text.trim();
    if (message === "") return;
    setText("");
    const how = { ...(active.length > 0 && { on_busy }), ...(model !== "" && { model }) };
    // A refusal is shown at the message.
    session.send(message, how).catch(() => undefined);
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
    <form className="composer" onSubmit={send} aria-label="Write">
      {active.length > 0 && <Busy session={session} queued={queued} on_busy={on_busy} onChange={setOnBusy} />}
      <div className="box">
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
          <ModelPicker chosen={snapshot?.session?.model ?? model} onChoose={onModel} />
          <span className="hint">Enter sends, Shift Enter breaks the line</span>
          <button type="submit" className="primary round" aria-label="Send" disabled={text.trim() === ""}>
            <Icon name="send" />
          </button>
        </div>
      </div>
    </form>
  );
}

interface BusyProps {
  readonly session: ClientSession;
  readonly queued: number;
  readonly on_busy: OnBusy;
  readonly onChange: (on_busy: OnBusy) => void;
}

/** While an answer is written: stop it, or say what happens to what one writes meanwhile. */
function Busy({ session, queued, on_busy, onChange }: BusyProps) {
  return (
    <div className="busy">
      <button type="button" onClick={() => void session.abort({ queued: "cancel" }).catch(() => undefined)}>
        <Icon name="stop" />
        Stop
      </button>
      {queued > 0 && <span className="note">{queued} waiting</span>}
      <div className="segments" role="radiogroup" aria-label="A message meanwhile">
        {(["queue", "steer"] as const).map((each) => (
          <label key={each} title={EXPLAINED[each]}>
            <input type="radio" name="on_busy" checked={on_busy === each} onChange={() => onChange(each)} />
            <span>{each === "queue" ? "Queue" : "Steer"}</span>
          </label>
        ))}
      </div>
    </div>
  );
}

const EXPLAINED: Readonly<Record<OnBusy, string>> = {
  queue: "What you write is answered after this answer",
  steer: "What you write reaches the model in the middle of its work, at its next step",
};

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
