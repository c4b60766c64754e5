import { describe, expect, test } from "bun:test";
import type { Change } from "../../src/client/change.ts";
import type { Transcript } from "../../src/client/fold.ts";
import { createTranscript } from "../../src/client/fold.ts";
import type { EventMessage, Snapshot } from "../../src/protocol/entities.ts";
import type { DurableEvent, DurablePayload } from "../../src/protocol/events.ts";

function apply<T extends DurableEvent>(transcript: Transcript, event: T, payload: DurablePayload<T>): Change {
  return transcript.apply({ type: "event", event, ts: 1, run_id: "run_1", payload });
}

function delta(
  transcript: Transcript,
  off: number,
  text: string,
  part = 0,
  kind: "text" | "reasoning" = "text",
): Change {
  return apply(transcript, "message.delta", { message_id: "m1", part, kind, off, text });
}

function started(): Transcript {
  const transcript = createTranscript();
  apply(transcript, "message.started", { message_id: "m1", role: "assistant", model: "demo/x" });
  return transcript;
}

function whole(content: string, more: Partial<EventMessage> = {}): EventMessage {
  const parts: EventMessage["parts"] = [{ type: "text", text: content }];
  return {
    message_id: "m1",
    role: "assistant",
    status: "complete",
    content,
    parts,
    timestamp: 1,
    metadata: {},
    ...more,
  };
}

const contentOf = (transcript: Transcript) => transcript.messages.get("m1")?.content;

describe("deltas", () => {
  test("append, and are cut where their beginning is known", () => {
    const transcript = started();
    delta(transcript, 0, "Hel");
    expect(delta(transcript, 3, "lo")).toMatchObject({ kind: "text", text: "lo" });
    expect(delta(transcript, 3, "lo, w")).toMatchObject({ kind: "text", text: ", w" });
    expect(delta(transcript, 0, "Hello")).toMatchObject({ kind: "text", text: "" });
    expect(contentOf(transcript)).toBe("Hello, w");
  });

  test("every way to cut a text gives the text", () => {
    const text = "a😀bé字";
    for (let first = 0; first <= text.length; first++) {
      for (let again = 0; again <= first; again++) {
        const transcript = started();
        delta(transcript, 0, text.slice(0, first));
        delta(transcript, again, text.slice(again));
        expect(contentOf(transcript)).toBe(text);
      }
    }
  });

  test("beyond what is known are a gap: in the part, of a part, of the message", () => {
    const transcript = started();
    delta(transcript, 0, "abc");
    expect(delta(transcript, 4, "x").kind).toBe("gap");
    expect(delta(transcript, 0, "x", 2).kind).toBe("gap");
    expect(delta(createTranscript(), 0, "x").kind).toBe("gap");
    expect(contentOf(transcript)).toBe("abc");
  });

  test("content is the text parts only", () => {
    const transcript = started();
    delta(transcript, 0, "hmm", 0, "reasoning");
    delta(transcript, 0, "Look", 1);
    apply(transcript, "tool.call", { message_id: "m1", tool_call_id: "t1", name: "clock", arguments: "{}" });
    delta(transcript, 0, "ing", 3);
    expect(contentOf(transcript)).toBe("Looking");
    expect(transcript.messages.get("m1")?.parts.map((part) => part.type)).toEqual([
      "reasoning",
      "text",
      "tool_call",
      "text",
    ]);
  });
});

describe("the end of a message", () => {
  test("tells what was streamed beside what the gateway says of it", () => {
    const transcript = started();
    delta(transcript, 0, "Hello");
    const change = apply(transcript, "message.completed", {
      message: whole("Hello"),
      length: 5,
      sha256: "ab",
    });
    expect(change).toMatchObject({ kind: "completed", streamed: "Hello", length: 5, sha256: "ab" });
    expect(delta(transcript, 5, "!").kind).toBe("none");
    expect(contentOf(transcript)).toBe("Hello");
  });

  test("of another length than what was folded is a gap", () => {
    const transcript = started();
    delta(transcript, 0, "Hell");
    expect(
      apply(transcript, "message.completed", { message: whole("Hello"), length: 5, sha256: "ab" }).kind,
    ).toBe("gap");
  });

  test("without its content keeps what was folded, and is a gap where nothing was", () => {
    const end = { message: whole(""), length: 5, sha256: "ab", content_omitted: true };
    const transcript = started();
    delta(transcript, 0, "Hello");
    expect(apply(transcript, "message.completed", end).kind).toBe("completed");
    expect(contentOf(transcript)).toBe("Hello");
    expect(apply(createTranscript(), "message.completed", end).kind).toBe("gap");
  });

  test("a discarded message is gone", () => {
    const transcript = started();
    apply(transcript, "message.discarded", { message_id: "m1", reason: "retry" });
    expect([...transcript.messages.keys()]).toEqual([]);
  });
});

describe("tools", () => {
  const approval = {
    approval_id: "apr_1",
    run_id: "run_1",
    message_id: "m1",
    tool_call_id: "t1",
    name: "clock",
    arguments: "{}",
    created_at: 1,
    expires_at: 2,
  };

  test("a call belongs to the message that is being written, and to no other", () => {
    const transcript = started();
    const call = { message_id: "m1", tool_call_id: "t1", name: "clock", arguments: "{}" };
    expect(apply(transcript, "tool.call", { ...call, message_id: "m0" }).kind).toBe("gap");
    expect(apply(transcript, "tool.call", call)).toMatchObject({ kind: "tool_call", name: "clock" });
    const parts: EventMessage["parts"] = [
      { type: "tool_call", tool_call_id: "t1", name: "clock", arguments: "{}" },
    ];
    apply(transcript, "message.completed", { message: whole("", { parts }), length: 0, sha256: "ab" });
    expect(apply(transcript, "tool.call", call).kind).toBe("none");
    expect(transcript.messages.get("m1")?.parts).toEqual(parts);
  });

  test("an approval is open from its request until it is resolved, whoever does", () => {
    const transcript = started();
    expect(apply(transcript, "tool.approval_requested", { approval })).toEqual({
      kind: "approval",
      approval,
    });
    expect([...transcript.approvals.values()]).toEqual([approval]);
    const how = { approval_id: "apr_1", decision: "deny", by: "bob" };
    expect(apply(transcript, "tool.approval_resolved", how)).toEqual({ kind: "resolved", at: 1, ...how });
    expect(transcript.approvals.size).toBe(0);
  });

  test("a snapshot says which approvals are open", () => {
    const transcript = started();
    apply(transcript, "tool.approval_requested", { approval });
    const snapshot = (approvals: unknown[]) =>
      ({ session: {}, messages: [], runs: [], approvals }) as unknown as Snapshot;
    transcript.replace(snapshot([{ ...approval, approval_id: "apr_2" }]));
    expect([...transcript.approvals.keys()]).toEqual(["apr_2"]);
    transcript.replace(snapshot([]));
    expect(transcript.approvals.size).toBe(0);
  });

  test("a result says whether it was cut", () => {
    const transcript = started();
    const result = { message_id: "m2", tool_call_id: "t1", ok: true, content: "12", truncated: true };
    apply(transcript, "tool.result", result);
    expect(transcript.messages.get("m2")).toMatchObject({
      role: "tool",
      run_id: "run_1",
      content: "12",
      parts: [{ type: "tool_result", tool_call_id: "t1", ok: true, truncated: true }],
    });
  });
});

describe("the rest", () => {
  test("a snapshot replaces all, and its open message goes on", () => {
    const transcript = started();
    delta(transcript, 0, "old");
    transcript.replace({
      session: {},
      messages: [{ ...whole("He"), session_id: "s", seq: 3, status: "streaming" }],
      runs: [],
      approvals: [],
    } as unknown as Snapshot);
    delta(transcript, 2, "llo");
    expect([...transcript.messages.values()].map(({ content }) => content)).toEqual(["Hello"]);
  });

  test("runs, tool results and created messages are kept; unknown events change nothing", () => {
    const transcript = started();
    const run = {
      run_id: "run_1",
      model: "demo/x",
      origin: { transport: "ws", client_id: "c" },
      created_at: 1,
    };
    apply(transcript, "run.queued", { run: { ...run, status: "queued" } });
    apply(transcript, "run.started", { run_id: "run_1", model: "demo/x" });
    expect(transcript.runs.get("run_1")?.status).toBe("running");
    apply(transcript, "run.failed", {
      run: {
        ...run,
        status: "failed",
        error: { code: "UPSTREAM_ERROR", status: 5002, message: "no", retryable: false },
      },
    });
    expect(transcript.runs.get("run_1")).toMatchObject({
      status: "failed",
      error: { code: "UPSTREAM_ERROR" },
    });
    apply(transcript, "tool.result", { message_id: "m2", tool_call_id: "t1", ok: true, content: "12:00" });
    apply(transcript, "message.created", { message: whole("hi", { message_id: "m3", role: "user" }) });
    expect([...transcript.messages.values()].map(({ role, content }) => [role, content])).toEqual([
      ["assistant", ""],
      ["tool", "12:00"],
      ["user", "hi"],
    ]);
    expect(transcript.apply({ type: "event", event: "app.tick", ts: 1, payload: {} })).toEqual({
      kind: "none",
    });
  });
});
