import { expect, test } from "bun:test";
import fc from "fast-check";
import { GatewayError } from "../../src/protocol/errors.ts";
import type { Decoded } from "../../src/protocol/frames.ts";
import {
  decode as decodeTo,
  encodeError,
  encodeEvent,
  encodeOk,
  encodeSignal,
  isTooDeep,
} from "../../src/protocol/frames.ts";

const DEPTH = 32;
const decode = (raw: string | Uint8Array): Decoded => decodeTo(raw, DEPTH);
const tooDeep = (text: string, depth = DEPTH): boolean => isTooDeep(text, depth);

test("a request without params is one with none", () => {
  expect(decode('{"type":"req","id":"1","method":"system.status"}')).toEqual({
    ok: true,
    frame: { id: "1", method: "system.status", params: {} },
  });
});

test("unknown fields of a frame are ignored", () => {
  const decoded = decode('{"type":"req","id":"1","method":"m","params":{"a":1},"trace":"x"}');
  expect(decoded).toEqual({ ok: true, frame: { id: "1", method: "m", params: { a: 1 } } });
});

const refused: [string, string, string | null][] = [
  ["not json", "json", null],
  ["", "json", null],
  ["[]", "frame", null],
  ["null", "frame", null],
  ["7", "frame", null],
  ['{"type":"req","method":"m"}', "id", null],
  ['{"type":"req","id":"","method":"m"}', "id", null],
  ['{"type":"req","id":1,"method":"m"}', "id", null],
  [`{"type":"req","id":"${"x".repeat(65)}","method":"m"}`, "id", null],
  ['{"type":"event","id":"1","method":"m"}', "type", "1"],
  ['{"type":"req","id":"1"}', "method", "1"],
  ['{"type":"req","id":"1","method":{}}', "method", "1"],
  ['{"type":"req","id":"1","method":"m","params":null}', "params", "1"],
  ['{"type":"req","id":"1","method":"m","params":[]}', "params", "1"],
  ['{"type":"req","id":"1","method":"m","params":"x"}', "params", "1"],
  [`${"[".repeat(10_000)}${"]".repeat(10_000)}`, "depth", null],
  [`{"type":"req","id":"1","method":"m","params":${'{"a":'.repeat(32)}1${"}".repeat(32)}}`, "depth", null],
];
test.each(refused)("refuses %p", (raw, kind, id) => {
  const decoded = decode(raw);
  expect(decoded.ok).toBe(false);
  if (decoded.ok) return;
  expect(decoded.id).toBe(id);
  expect(decoded.error.details).toEqual({
    kind,
    ...(kind === "depth" && { what: "json_depth", limit: DEPTH }),
  });
});

test("binary frames are refused", () => {
  expect(decode(new Uint8Array([123, 125]))).toMatchObject({ ok: false, json: false });
});

test("decode is total, and brackets in strings do not nest", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void decode(text)));
  fc.assert(fc.property(fc.string(), (text) => !tooDeep(JSON.stringify({ a: `${"[{".repeat(40)}${text}` }))));
  fc.assert(
    fc.property(
      fc.jsonValue({ maxDepth: 6 }),
      (value) => !tooDeep(JSON.stringify(value)) && tooDeep(JSON.stringify([value]), 0),
    ),
  );
});

test("frames read as they were meant", () => {
  expect(JSON.parse(encodeOk('a"b', { x: 1 }))).toEqual({
    type: "res",
    id: 'a"b',
    ok: true,
    payload: { x: 1 },
  });
  expect(JSON.parse(encodeOk("1", undefined))).toEqual({ type: "res", id: "1", ok: true, payload: {} });
  const error = new GatewayError("CONFLICT", "busy", {
    details: { kind: "busy" },
    retryable: true,
    retry_after_ms: 250,
  });
  expect(JSON.parse(encodeError("1", error))).toEqual({
    type: "res",
    id: "1",
    ok: false,
    error: {
      code: "CONFLICT",
      status: 4009,
      message: "busy",
      details: { kind: "busy" },
      retryable: true,
      retry_after_ms: 250,
    },
  });
  const event = { seq: 42, ts: 5, type: "message.delta", run_id: "run_1", payload: '{"a":1}' };
  expect(encodeEvent("s", "k3v9q2a7", event)).toBe(
    '{"type":"event","event":"message.delta","session_id":"s","epoch":"k3v9q2a7","seq":42,"ts":5,"run_id":"run_1","payload":{"a":1}}',
  );
  expect(encodeSignal("heartbeat", 5, { ts: 5 })).toBe(
    '{"type":"event","event":"heartbeat","ts":5,"payload":{"ts":5}}',
  );
});
