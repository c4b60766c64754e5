import { askToPair, newDevice } from "../support/device.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { upload } from "./files.fixture.ts";
import type { Person, Stack } from "./stack.ts";
import { say } from "./stack.ts";
import { askForTool } from "./tool-asks.ts";

/** What the representative calls are about: a session of the owner's with an answered message, a message and a run in it. */
export interface World {
  readonly stack: Stack;
  readonly session_id: string;
  readonly message_id: string;
  readonly run_id: string;
  /** A file of that message. */
  readonly attachment_id: string;
  /** Made by the owner, nobody's credential meanwhile. */
  freshToken(): Promise<{ token: string; token_id: string }>;
  freshSession(): Promise<string>;
  /** The id of a device of the owner's. */
  freshDevice(): Promise<string>;
  /** The code of a device that asks to be paired. */
  freshPairing(): Promise<string>;
  /** A call of a tool that waits for an answer. */
  freshApproval(): Promise<{ session_id: string; approval_id: string }>;
  /** The id of a hook of the owner's. */
  freshHook(): Promise<string>;
  /** The id of a schedule of the owner's. */
  freshSchedule(): Promise<string>;
  /** The id of a webhook of the owner's, of what never happens here. */
  freshWebhook(): Promise<string>;
  /** One that nothing has. */
  freshName(): string;
  /** Somebody with a token. */
  freshUser(): Promise<string>;
  freshSocket(): Promise<{ socket: TestSocket; connection_id: string }>;
}

export async function createWorld(stack: Stack): Promise<World> {
  const { owner } = stack;
  const session_id = "world";
  stack.model.reply().reasoning("hm").text("good day").usage({ prompt_tokens: 3, completion_tokens: 2 });
  const { attachment_id } = await upload(stack, owner, "a file", { name: "world.txt" });
  const { sent } = await say(owner, { session_id, message: "hello", attachments: [attachment_id] });
  let made = 0;
  return {
    stack,
    session_id,
    message_id: sent.message_id,
    run_id: sent.run_id,
    attachment_id,
    freshToken: () => owner.call("token.create", { name: "fresh", user: "ann" }),
    async freshSession() {
      const { session_id: id } = await owner.call("session.create", { session_id: `fresh-${++made}` });
      return id;
    },
    async freshDevice() {
      const { public_key } = newDevice();
      const { device_id } = await owner.call("device.register", { public_key, user: "owner", scopes: [] });
      return device_id;
    },
    freshApproval: () => askForTool(stack, `asks-${++made}`),
    freshPairing: () => askToPair(stack.gateway.ws_url, newDevice()),
    freshName: () => `fresh-${++made}`,
    async freshHook() {
      const hook = { name: `hook-${++made}`, session_id: "hooked", template: "{{$body}}" };
      return (await owner.call("hook.create", hook)).hook_id;
    },
    async freshSchedule() {
      const schedule = { cron: "0 0 1 1 *", message: "happy new year", session_id: `due-${++made}` };
      return (await owner.call("schedule.create", schedule)).schedule_id;
    },
    async freshWebhook() {
      const webhook = { url: "http://127.0.0.1:1/in", types: ["app.never"] };
      return (await owner.call("webhook.create", webhook)).webhook_id;
    },
    async freshUser() {
      const user = `user-${++made}`;
      await owner.call("token.create", { name: "fresh", user });
      return user;
    },
    freshSocket: () => openNamed(owner),
  };
}

async function openNamed(person: Person): Promise<{ socket: TestSocket; connection_id: string }> {
  const socket = await person.connect();
  const { server_info } = await socket.request("connect", { client_id: "fresh" });
  return { socket, connection_id: server_info.connection_id };
}
