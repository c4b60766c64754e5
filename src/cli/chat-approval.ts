import type { Client } from "../client/client.ts";
import type { Resolution } from "../client/change.ts";
import type { Approval } from "../protocol/entities.ts";
import type { Show } from "./answer-show.ts";
import type { Input } from "./args.ts";
import type { TypedInput } from "./chat-input.ts";
import { callText } from "./chat-show.ts";
import type { Conversation } from "./conversation.ts";
import { UsageError } from "./exit.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { visible } from "./table.ts";

export type Decision = "allow" | "deny";
type Answer = (decision: Decision, remember?: boolean) => void;
/** Asks somebody to answer a call; the answer takes the question back. */
export type Ask = (approval: Approval, answer: Answer) => () => void;

const SCOPE = "tools.approve";
const PROMPT = "allow? [y]es / [n]o / [a]lways in this session: ";
/** Of the arguments of a call, at the prompt. */
const ARGUMENTS_CHARS = 4_000;

export interface Attending {
  readonly client: Client;
  readonly show: Pick<Show, "note">;
  /** The answer to every call of the own runs; null: a person is asked. */
  readonly automatic: () => Decision | null;
  readonly ask: Ask;
}

/** What `--approve` says. @throws UsageError */
export function automaticOf(input: Input): Decision | null {
  const given = input.text("approve");
  if (given === undefined) return null;
  if (given !== "allow" && given !== "deny")
    throw new UsageError(`chat --approve takes allow or deny, not "${given}"`);
  return given;
}

/** Has the calls of a conversation that wait answered, and tells what became of those that somebody else answered. */
export function attend(conversation: Conversation, { client, show, automatic, ask }: Attending): void {
  /** Calls that are asked for, with how to allow them in place of the question. */
  const open = new Map<Approval, () => void>();
  /** Answers for always. The gateway asks no more after one, but what it has asked at the same time waits for its own answer. */
  const always = new Set<string>();
  conversation.onApproval((approval) => {
    const kind = kindOf(approval);
    let given: Decision | null = null;
    let takeBack: () => void = () => undefined;
    const answer: Answer = (decision, remember = false) => {
      given = decision;
      open.delete(approval);
      conversation
        .decide(approval, decision, remember)
        .catch((error: unknown) =>
          show.note(`${visible(approval.name)} was not answered: ${explain(error)}`),
        );
      if (!remember) return;
      always.add(kind);
      for (const [other, allow] of open) if (kindOf(other) === kind) allow();
    };
    const decided = automatic();
    if (client.hello?.auth_info.scopes.includes(SCOPE) !== true)
      show.note(`${visible(approval.name)} waits: somebody with the scope ${SCOPE} has to allow or deny it`);
    else if (decided !== null && conversation.owns(approval.run_id)) answer(decided);
    else if (always.has(kind)) answer("allow");
    else {
      takeBack = ask(approval, answer);
      open.set(approval, () => {
        takeBack();
        answer("allow");
      });
    }
    return (resolution) => {
      open.delete(approval);
      takeBack();
      if (resolution?.decision !== given)
        show.note(`${visible(approval.name)} ${outcomeOf(approval, resolution)}`);
    };
  });
}

/** Calls of one tool in one turn. */
function kindOf({ message_id, name }: Approval): string {
  return `${message_id} ${name}`;
}

function outcomeOf({ expires_at }: Approval, resolution: Resolution | null): string {
  if (resolution === null) return "does not wait any more";
  const { decision, by = "somebody", at } = resolution;
  if (decision === "allow") return `was allowed by ${visible(by)}`;
  if (decision === "deny") return `was denied by ${visible(by)}`;
  return at < expires_at ? "waits no more: its run ended" : "was not allowed: nobody answered in time";
}

/** Asks at the terminal. */
export function askTyped(typed: () => TypedInput, show: Pick<Show, "note">): Ask {
  return (approval, answer) =>
    typed().ask({
      prompt: PROMPT,
      introduce: () => show.note(whole(approval)),
      take(line) {
        const word = line.trim().toLowerCase();
        if (word === "y" || word === "yes") answer("allow");
        else if (word === "n" || word === "no") answer("deny");
        else if (word === "a" || word === "always") answer("allow", true);
        else return false;
        return true;
      },
    });
}

/** Nobody is there to be asked: says how to answer from elsewhere. `flags` lead to the same gateway. */
export function askElsewhere(session_id: string, flags: readonly string[], io: Io): Ask {
  const words = flags.map((word) => ` ${quoted(word)}`).join("");
  return (approval) => {
    const params = JSON.stringify({ session_id, approval_id: approval.approval_id, decision: "allow" });
    io.err(
      `${whole(approval)}; to allow it ("deny" to refuse):\n  agentbus call tool.approve ${quoted(params)}${words}`,
    );
    return () => undefined;
  };
}

/** Nobody allows what they cannot see: the arguments are cut far later than in a note, and it is said. */
function whole(approval: Approval): string {
  const text = callText(approval);
  const rest = text.length - ARGUMENTS_CHARS;
  const shown = rest > 0 ? `${text.slice(0, ARGUMENTS_CHARS)}… and ${rest} characters more` : text;
  return `waits for an answer: ${shown}`;
}

/** As one word of a shell. */
function quoted(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
