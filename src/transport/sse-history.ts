import type { Principal } from "../core/principal.ts";
import type { chatHistory } from "../protocol/api/chat.ts";
import type { Message, Run } from "../protocol/entities.ts";
import type { ResultOf } from "../protocol/methods.ts";
import type { TransportContext } from "./context.ts";
import type { Visit } from "./rest-reply.ts";
import { call } from "./sse-run.ts";

type History = ResultOf<typeof chatHistory>;

const PAGE_MESSAGES = 200;
/** How much history one request may make the gateway read. */
const PAGES = 10;

/** The messages of a run, oldest first, and the epoch and head of the read. */
export async function messagesOf(
  context: TransportContext,
  visit: Visit,
  principal: Principal,
  run: Run,
): Promise<{ messages: Message[]; epoch: string; head: number }> {
  const read = (where: { before?: string; after?: string; limit?: number }): Promise<History> =>
    call<History>(context, visit, principal, "chat.history", {
      session_id: run.session_id,
      limit: PAGE_MESSAGES,
      ...where,
    });
  let page = await read(run.message_id === undefined ? {} : { before: run.message_id });
  const { epoch, head } = page;
  const messages: Message[] = [];
  const last = page.messages.at(-1);
  if (run.message_id !== undefined && last !== undefined) {
    // `before` leaves out the very message it names.
    messages.push(...(await read({ after: last.message_id, limit: 1 })).messages);
  }
  for (let pages = 1; ; pages++) {
    messages.unshift(...page.messages);
    const [oldest] = page.messages;
    // A run's messages come after it was made; those of other runs may stand between them.
    if (oldest === undefined || !page.has_more || oldest.timestamp < run.created_at || pages === PAGES) break;
    page = await read({ before: oldest.message_id });
  }
  return { messages: messages.filter((message) => message.run_id === run.run_id), epoch, head };
}
