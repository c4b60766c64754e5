import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Empty, Id, Moment, Params, SessionId, Timestamp, User } from "../schema.ts";
import { chatSend, OnBusy } from "./chat.ts";
import { Suspended } from "./hook.ts";

const Name = Type.String({ maxLength: 64 });
const CronText = Type.String({
  minLength: 1,
  maxLength: 128,
  description: "five fields (minute hour day month weekday), or @hourly, @daily, @weekly, @monthly, @yearly",
});
const Zone = Type.String({
  minLength: 1,
  maxLength: 64,
  description: "whose clock `cron` is about, an IANA time zone such as Europe/Berlin",
});
const Missed = Type.Union([Type.Literal("skip"), Type.Literal("once"), Type.Literal("all")], {
  description:
    "what becomes of moments at which the gateway did not run: nothing, one message for all of them (the default), or one for each, " +
    "the newest limits.schedule_catch_up of them",
});
const Overlap = Type.Union([Type.Literal("skip"), Type.Literal("send")], {
  description: "whether a moment is left out while the run of the one before is not over (the default)",
});
const Model = Type.String({ minLength: 1, maxLength: 256 });

const Last = Type.Object({
  due_at: Timestamp,
  status: Type.Union([
    Type.Literal("sent"),
    Type.Literal("skipped"),
    Type.Literal("missed"),
    Type.Literal("failed"),
  ]),
  reason: Type.Optional(Type.String()),
  session_id: Type.Optional(SessionId),
  run_id: Type.Optional(Id),
});
export const Schedule = Type.Object({
  schedule_id: Id,
  owner: User,
  name: Name,
  cron: Type.Optional(CronText),
  at: Type.Optional(Timestamp),
  timezone: Zone,
  session_id: Type.Optional(SessionId),
  message: Type.String(),
  model: Type.Optional(Model),
  on_busy: Type.Optional(OnBusy),
  missed: Missed,
  overlap: Overlap,
  enabled: Type.Boolean(),
  suspended: Type.Optional(Suspended),
  created_at: Timestamp,
  updated_at: Timestamp,
  next_at: Type.Optional(Timestamp),
  last: Type.Optional(Last),
});

const choices = {
  name: Type.Optional(Name),
  timezone: Type.Optional(Zone),
  model: Type.Optional(Model),
  on_busy: Type.Optional(OnBusy),
  missed: Type.Optional(Missed),
  overlap: Type.Optional(Overlap),
};

export const scheduleCreate = defineMethod({
  name: "schedule.create",
  scope: "sessions.manage",
  mutates: true,
  doc:
    "Says a message by itself: at every moment `cron` names in `timezone` (UTC), or once, `at`. It is the caller's, and bound by all that " +
    "chat.send is; without session_id each is said in a new session. Needs chat.write too.",
  audit: ({ name, cron, at, timezone, session_id }) => ({
    details: { name, cron, at, timezone, session_id },
  }),
  params: Params({
    cron: Type.Optional(CronText),
    at: Type.Optional(Moment),
    message: Type.String({ minLength: 1 }),
    session_id: Type.Optional(SessionId),
    ...choices,
  }),
  result: Schedule,
});

export const scheduleList = defineMethod({
  name: "schedule.list",
  scope: "chat.read",
  doc: "The caller's schedules, with when each is next and what came of the last time; for an administrator everybody's.",
  params: Empty,
  result: Type.Object({ schedules: Type.Array(Schedule) }),
});

export const scheduleUpdate = defineMethod({
  name: "schedule.update",
  scope: "sessions.manage",
  mutates: true,
  doc: 'Changes a schedule, or turns it off and on. `cron` takes the place of `at` and the other way round; "" takes session_id or model back.',
  audit: ({ schedule_id, cron, at, enabled }) => ({ target: schedule_id, details: { cron, at, enabled } }),
  params: Params({
    schedule_id: Id,
    cron: Type.Optional(CronText),
    at: Type.Optional(Moment),
    message: Type.Optional(Type.String({ minLength: 1 })),
    session_id: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9._:-]{0,128}$" })),
    ...choices,
    model: Type.Optional(Type.String({ maxLength: 256 })),
    enabled: Type.Optional(Type.Boolean()),
  }),
  result: Schedule,
});

export const scheduleDelete = defineMethod({
  name: "schedule.delete",
  scope: "sessions.manage",
  mutates: true,
  doc: "Ends a schedule.",
  audit: ({ schedule_id }) => ({ target: schedule_id }),
  params: Params({ schedule_id: Id }),
  result: Type.Object({ deleted: Type.Boolean() }),
});

const { session_id, message_id, run_id, status } = chatSend.result.properties;

export const scheduleRun = defineMethod({
  name: "schedule.run",
  scope: "sessions.manage",
  mutates: true,
  doc: "Says the message of a schedule now, besides the moments it has.",
  audit: ({ schedule_id }) => ({ target: schedule_id }),
  params: Params({ schedule_id: Id }),
  result: Type.Object({ session_id, message_id, run_id, status }),
});
