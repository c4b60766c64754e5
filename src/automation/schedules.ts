import type { Change, ScheduleView } from "../core/automation.ts";
import { newId } from "../core/id.ts";
import type { Limits } from "../core/limits.ts";
import type { Mirror } from "../core/mirrors.ts";
import type { RowChange } from "../core/operation.ts";
import type { Clock } from "../core/ports.ts";
import type { Makers } from "../core/maker.ts";
import { changedBy } from "../core/maker.ts";
import type { Principal } from "../core/principal.ts";
import type { Store } from "../core/store.ts";
import type { UserChange } from "../core/users.ts";
import type { scheduleCreate, scheduleUpdate } from "../protocol/api/schedule.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { ParamsOf } from "../protocol/methods.ts";
import type { Calendar } from "./cron.ts";
import { OwnedRecords, requireScopes, suspension, writing } from "./records.ts";
import type { ScheduleState, StoredSchedule } from "./stored-schedule.ts";
import { calendarOf, viewSchedule } from "./stored-schedule.ts";

export const SCHEDULES = "schedule";
export const STATES = "schedule_state";

export interface SchedulesOptions {
  readonly clock: Clock;
  readonly limits: Pick<Limits, "schedules_per_user">;
  readonly makers: Makers;
}

/** The schedules of this gateway, and when each is next. */
export class ScheduleBook {
  readonly #clock: Clock;
  readonly #makers: Makers;
  readonly #all: OwnedRecords<StoredSchedule>;
  /** Apart from them: one is changed by people, the other as time goes by. */
  readonly #states: OwnedRecords<ScheduleState>;
  readonly #calendars = new Map<string, Calendar>();
  /** Told when something may be due earlier than before. */
  onChange: () => void = () => undefined;

  constructor({ clock, limits, makers }: SchedulesOptions) {
    this.#clock = clock;
    this.#makers = makers;
    const per_user = (): number => limits.schedules_per_user;
    this.#all = new OwnedRecords({ collection: SCHEDULES, noun: "schedule", per_user });
    this.#states = new OwnedRecords({ collection: STATES, noun: "schedule", per_user });
  }

  async load(store: Store): Promise<void> {
    this.#all.load(await store.records(SCHEDULES));
    this.#states.load(await store.records(STATES));
  }

  mirrors(store: Store): Mirror[] {
    return [
      this.#all.mirror(store, (id) => {
        this.#calendars.delete(id);
        this.onChange();
      }),
      this.#states.mirror(store, () => this.onChange()),
    ];
  }

  list(user: string | null): ScheduleView[] {
    return this.#all.list(user).map((each) => this.#view(each, this.state(each)));
  }

  has(id: string): boolean {
    return this.#all.get(id) !== undefined;
  }

  every(): StoredSchedule[] {
    return this.#all.list(null);
  }

  /** What is said with the right of whoever made it has others who lack it say nothing. @throws GatewayError NOT_FOUND, FORBIDDEN */
  require(by: Principal, id: string): StoredSchedule {
    const schedule = this.#all.require(by, id);
    requireScopes(by, schedule.scopes);
    return schedule;
  }

  state({ id, owner }: StoredSchedule): ScheduleState {
    return this.#states.get(id) ?? { id, owner, next_at: null, last: null };
  }

  calendar(schedule: StoredSchedule): Calendar {
    const known = this.#calendars.get(schedule.id) ?? calendarOf(schedule);
    this.#calendars.set(schedule.id, known);
    return known;
  }

  create(by: Principal, params: ParamsOf<typeof scheduleCreate>): Change<ScheduleView> {
    const { user, scopes } = by;
    this.#all.requireRoom(user);
    const now = this.#clock.now();
    const { cron = null, at = null, name = "", timezone = "UTC", session_id = null, message } = params;
    const { model = null, on_busy = null, missed = "once", overlap = "skip" } = params;
    const id = newId("sch", now);
    const said = { cron, at, timezone, session_id, message, model, on_busy, missed, overlap };
    const times = { enabled: true, created_at: now, updated_at: now };
    const rights = { made_by: this.#makers.of(by), scopes: writing(scopes) };
    return this.#put({ id, owner: user, ...rights, name, ...said, ...times }, null);
  }

  update(by: Principal, params: ParamsOf<typeof scheduleUpdate>): Change<ScheduleView> {
    const { schedule_id, cron, at, session_id, model, ...said } = params;
    const old = this.require(by, schedule_id);
    const moved = cron !== undefined || at !== undefined;
    const next = {
      ...old,
      ...said,
      ...(moved && { cron: cron ?? null, at: at ?? null }),
      ...(session_id !== undefined && { session_id: session_id === "" ? null : session_id }),
      ...(model !== undefined && { model: model === "" ? null : model }),
      ...changedBy(old, this.#makers.of(by)),
      updated_at: this.#clock.now(),
    };
    return this.#put(next, this.state(old));
  }

  remove(by: Principal, schedule_id: string): Change<void> | null {
    const found = this.#all.find(by, schedule_id);
    return found === null ? null : this.drop(found);
  }

  /** @throws GatewayError CONFLICT {kind:"busy"} */
  drop({ id }: StoredSchedule): Change<void> {
    const besides = [{ kind: "record.drop", collection: STATES, id } as const];
    return this.#all.drop(id, besides, () => {
      this.#states.forgetOne(id);
      this.#calendars.delete(id);
    });
  }

  forget(user: string): UserChange {
    return this.#all.forget(user, (each) => this.drop(each));
  }

  /** While its moment is used up nobody may change it; null: somebody does. The answer gives it back. */
  hold({ id }: StoredSchedule): (() => void) | null {
    return this.#all.hold(id);
  }

  isChanging({ id }: StoredSchedule): boolean {
    return this.#all.isChanging(id);
  }

  row(state: ScheduleState): RowChange {
    return this.#states.row(state);
  }

  /** The row is committed. */
  committed(state: ScheduleState): void {
    this.#states.set(state);
  }

  #view(schedule: StoredSchedule, state: ScheduleState): ScheduleView {
    return { ...viewSchedule(schedule, state), ...suspension(this.#makers, schedule) };
  }

  /** @throws GatewayError INVALID_REQUEST */
  #put(schedule: StoredSchedule, before: ScheduleState | null): Change<ScheduleView> {
    const { id, owner, enabled } = schedule;
    const calendar = checked(schedule);
    const next_at = enabled ? nextOf(schedule, calendar, before, this.#clock.now()) : null;
    const state = { id, owner, next_at, last: before?.last ?? null };
    const change = this.#all.put(schedule, () => {
      this.#states.set(state);
      this.#calendars.set(id, calendar);
      this.onChange();
      return this.#view(schedule, state);
    });
    return { ...change, rows: [...change.rows, this.#states.row(state)] };
  }
}

/** When it is due after it was made or changed. @throws GatewayError INVALID_REQUEST for what never comes */
function nextOf(
  { at }: StoredSchedule,
  calendar: Calendar,
  before: ScheduleState | null,
  now: number,
): number | null {
  const next = calendar.next(now);
  // One that was said in time may be changed otherwise any time.
  const wasSaid = at !== null && before?.last?.due_at === at;
  if (next !== null || wasSaid) return next;
  throw invalid(
    at === null ? "cron" : "at",
    at === null ? "no such day ever comes" : "it is past already: give a later moment",
  );
}

/** @throws GatewayError INVALID_REQUEST */
function checked(schedule: StoredSchedule): Calendar {
  if ((schedule.cron === null) === (schedule.at === null))
    throw invalid("cron", "give cron or at, one of the two");
  try {
    return calendarOf(schedule);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const [path = "cron"] = message.split(":", 1);
    throw invalid(path, message.slice(path.length + 2));
  }
}

function invalid(path: string, what: string): GatewayError {
  return new GatewayError("INVALID_REQUEST", `${path}: ${what}`, {
    details: { kind: "schema", path },
    http: 422,
  });
}
