import { isImporter } from "./core/importing.ts";
import type { Publish } from "./core/append.ts";
import type { Changes } from "./core/changes.ts";
import type { Hub } from "./core/hub.ts";
import type { Indexing } from "./core/indexing.ts";
import type { Owed } from "./core/owed.ts";
import type { Observers } from "./core/observers.ts";
import { nameOf, namingsOf, topicOf } from "./core/session.ts";
import type { Stats } from "./core/stats.ts";
import { encodeEvent } from "./protocol/frames.ts";

/** Shows an event to those who follow its session here. */
export function shower({ hub, changes }: { readonly hub: Hub; readonly changes: Changes }): Publish {
  return (session, tail, event) => {
    for (const naming of namingsOf(session)) {
      hub.publish(topicOf(session, naming), () => {
        const text = encodeEvent(nameOf(session, naming), tail.epoch, event);
        return { text, type: event.type, epoch: tail.epoch, seq: event.seq };
      });
    }
    changes.touch(session, tail);
  };
}

interface Told {
  readonly indexing: Indexing;
  readonly owed: Owed;
  readonly stats: Stats;
  readonly hub: Hub;
  readonly changes: Changes;
  readonly observers: Observers;
}

/** Shows an event that is committed to everybody who wants to see it. */
export function publisher({ stats, hub, changes, observers, indexing, owed }: Told): Publish {
  const show = shower({ hub, changes });
  return (session, tail, event) => {
    stats.event(event.type);
    if (event.type === "message.created" || event.type === "message.completed") indexing.touch();
    show(session, tail, event);
    // What was said elsewhere, long ago, is no news.
    if (isImporter(session.owner)) return;
    owed.published(session, event);
    const { type, ts, run_id, seq } = event;
    observers.tell(type, () => ({
      type,
      ts,
      session_id: session.id,
      user: session.owner,
      ...(run_id !== null && { run_id }),
      epoch: tail.epoch,
      seq,
      payload: JSON.parse(event.payload) as Record<string, unknown>,
    }));
  };
}
