import { expect } from "bun:test";
import type { MethodCase } from "./method-cases.ts";

const nothing = (): Record<string, unknown> => ({});

/** A call that succeeds, for every method of what happens by itself. */
export const AUTOMATION_CASES: Readonly<Record<string, MethodCase>> = {
  "hook.create": {
    params: (world) => ({
      name: world.freshName(),
      verify: "standard",
      session_id: world.session_id,
      template: "{{$header.x-kind}}: {{a.0}}",
      on_busy: "queue",
      dedupe: "body",
    }),
    answer: () => ({ owner: "owner", secret: expect.stringMatching(/^whsec_/), enabled: true }),
  },
  "hook.list": { params: nothing },
  "hook.update": {
    lent: "chat.write",
    params: async (world) => ({
      hook_id: await world.freshHook(),
      session_id: world.session_id,
      enabled: false,
    }),
    answer: ({ session_id }) => ({ session_id, enabled: false }),
  },
  "hook.rotate": {
    lent: "chat.write",
    params: async (world) => ({ hook_id: await world.freshHook(), keep_secs: 60 }),
    answer: () => ({ secret: expect.stringMatching(/^agh_/), previous_until: expect.any(Number) }),
  },
  "hook.delete": {
    params: async (world) => ({ hook_id: await world.freshHook() }),
    answer: () => ({ deleted: true }),
  },
  "schedule.create": {
    params: ({ session_id }) => ({
      name: "case",
      cron: "0 9 * * MON",
      timezone: "Europe/Berlin",
      message: "good morning",
      session_id,
      on_busy: "queue",
      missed: "skip",
      overlap: "send",
    }),
    answer: () => ({ owner: "owner", enabled: true, next_at: expect.any(Number) }),
  },
  "schedule.list": { params: nothing },
  "schedule.update": {
    lent: "chat.write",
    params: async (world) => ({
      schedule_id: await world.freshSchedule(),
      session_id: world.session_id,
      at: Date.now() + 3_600_000,
    }),
    answer: ({ session_id }) => ({ session_id, at: expect.any(Number) }),
  },
  "schedule.run": {
    lent: "chat.write",
    params: async (world) => ({ schedule_id: await world.freshSchedule() }),
    answer: () => ({ status: "started" }),
  },
  "schedule.delete": {
    params: async (world) => ({ schedule_id: await world.freshSchedule() }),
    answer: () => ({ deleted: true }),
  },
  "webhook.create": {
    params: () => ({ url: "http://127.0.0.1:1/in", types: ["app.never"], name: "case", sessions: "own" }),
    answer: () => ({ owner: "owner", secret: expect.stringMatching(/^whsec_/), enabled: true }),
  },
  "webhook.list": { params: nothing },
  "webhook.update": {
    lent: "chat.read",
    params: async (world) => ({
      webhook_id: await world.freshWebhook(),
      types: ["app.no.*"],
      enabled: false,
    }),
    answer: () => ({ types: ["app.no.*"], enabled: false }),
  },
  "webhook.rotate": {
    lent: "chat.read",
    params: async (world) => ({ webhook_id: await world.freshWebhook(), keep_secs: 60 }),
    answer: () => ({ secret: expect.stringMatching(/^whsec_/), previous_until: expect.any(Number) }),
  },
  "webhook.test": {
    lent: "chat.read",
    params: async (world) => ({ webhook_id: await world.freshWebhook() }),
    answer: () => ({ ok: false, reason: expect.stringContaining("webhooks.allow") }),
  },
  "webhook.deliveries": {
    lent: "chat.read",
    params: async (world) => ({ webhook_id: await world.freshWebhook() }),
    answer: () => ({ dead: [], waiting_sessions: 0 }),
  },
  "webhook.redeliver": {
    lent: "chat.read",
    params: async (world) => ({ webhook_id: await world.freshWebhook() }),
    answer: () => ({ delivered: [], failed: [] }),
  },
  "webhook.delete": {
    params: async (world) => ({ webhook_id: await world.freshWebhook() }),
    answer: () => ({ deleted: true }),
  },
};
