import { describe } from "bun:test";
import { appendConformance } from "./store.append.ts";
import { attachmentsConformance } from "./store.attachments.ts";
import { auditConformance } from "./store.audit.ts";
import type { MakeStore } from "./store.builders.ts";
import { contextConformance } from "./store.context.ts";
import { copyConformance } from "./store.copy.ts";
import { deletionConformance } from "./store.deletion.ts";
import { keysConformance } from "./store.keys.ts";
import { listConformance } from "./store.list.ts";
import { logConformance } from "./store.log.ts";
import { messagesConformance } from "./store.messages.ts";
import { recordsConformance } from "./store.records.ts";
import { searchConformance } from "./store.search.ts";
import { usageConformance } from "./store.usage.ts";

/** What every Store does, whatever it is made of. */
export function storeConformance(name: string, make: MakeStore): void {
  describe(`${name} store`, () => {
    describe("append", () => appendConformance(make));
    describe("idempotency and quotas", () => keysConformance(make));
    describe("deletion", () => deletionConformance(make));
    describe("messages and runs", () => messagesConformance(make));
    describe("context", () => contextConformance(make));
    describe("log", () => logConformance(make));
    describe("copy", () => copyConformance(make));
    describe("attachments", () => attachmentsConformance(make));
    describe("audit trail", () => auditConformance(make));
    describe("search", () => searchConformance(make));
    describe("usage", () => usageConformance(make));
    describe("lists and records", () => listConformance(make));
    describe("records that change only over what is there", () => recordsConformance(make));
  });
}
