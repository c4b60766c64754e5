import { Type } from "@sinclair/typebox";
import { Run, RunStatus } from "../entities.ts";
import { defineMethod } from "../methods.ts";
import { Empty, Epoch, Id, IdempotencyKey, Params, Seq, SessionId } from "../schema.ts";

export const runCreate = defineMethod({
  name: "run.create",
  scope: "chat.write",
  mutates: true,
  idempotent: true,
  doc: "Starts (or queues) a run that answers the session's history as it stands when its turn comes, without another message.",
  params: Params({
    session_id: SessionId,
    model: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
    idempotency_key: Type.Optional(IdempotencyKey),
  }),
  result: Type.Object({
    session_id: SessionId,
    run_id: Id,
    status: Type.Union([Type.Literal("started"), Type.Literal("queued")]),
    epoch: Epoch,
    seq: Seq,
  }),
});

export const runGet = defineMethod({
  name: "run.get",
  scope: "chat.read",
  doc: "One run.",
  params: Params({ run_id: Id }),
  result: Run,
});

export const runList = defineMethod({
  name: "run.list",
  scope: "chat.read",
  doc: "Runs of one session, or of all you may read, newest first.",
  params: Params({
    session_id: Type.Optional(SessionId),
    status: Type.Optional(RunStatus),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50 })),
    cursor: Type.Optional(Type.String({ maxLength: 256 })),
  }),
  result: Type.Object({ runs: Type.Array(Run), next: Type.Optional(Type.String()) }),
});

export const runWait = defineMethod({
  name: "run.wait",
  scope: "chat.read",
  doc: "Waits until a run has ended, or timeout_ms is over; answers the run as it then is.",
  params: Params({
    run_id: Id,
    timeout_ms: Type.Optional(Type.Integer({ minimum: 0, maximum: 60_000, default: 30_000 })),
  }),
  result: Run,
});

export const modelList = defineMethod({
  name: "model.list",
  scope: "chat.read",
  doc: "The models a run can use.",
  params: Empty,
  result: Type.Object({
    default: Type.String(),
    models: Type.Array(Type.Object({ id: Type.String(), provider: Type.String() })),
  }),
});
