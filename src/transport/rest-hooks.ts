import { Type } from "@sinclair/typebox";
import { chatSend } from "../protocol/api/chat.ts";
import type { TransportContext } from "./context.ts";
import { outcomeResponse, pathParameter } from "./rest.ts";
import { readBody } from "./rest-input.ts";
import { answers, parameter } from "./rest-openapi.ts";
import type { HttpRoute } from "./rest-reply.ts";

/** A message may wait for storage; Bun's idle timer must not cut it before. */
const QUIET_SECS = 120;

/** Where deliveries of others come in, each with the secret of its hook instead of a credential. */
export function hookRoutes(context: TransportContext): HttpRoute[] {
  const { session_id, message_id, run_id, status } = chatSend.result.properties;
  return [
    {
      verb: "POST",
      path: "/api/v1/hooks/:name",
      describe: () => ({
        summary:
          "A delivery for a hook (hook.create), with the hook's own secret. Whatever JSON its sender sends.",
        tags: ["hooks"],
        parameters: [parameter("path", "name", { type: "string" }, true)],
        responses: answers(202, "The message", Type.Object({ session_id, message_id, run_id, status })),
      }),
      async handle(visit) {
        const name = pathParameter(visit, "name");
        const { request, remote } = visit;
        const body = await readBody(context, request, context.strangers.meter(remote));
        visit.server.timeout(request, QUIET_SECS);
        const { headers, signal } = request;
        return outcomeResponse(await context.receive({ name, headers, body, remote, signal }), 202);
      },
    },
  ];
}
