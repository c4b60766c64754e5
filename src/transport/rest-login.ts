import { Type } from "@sinclair/typebox";
import { authSessionCreate } from "../protocol/api/auth.ts";
import { Challenge, DeviceProof } from "../protocol/api/device.ts";
import { Empty, Params, validate } from "../protocol/schema.ts";
import type { TransportContext } from "./context.ts";
import { credentialIn, tooManyCredentials } from "./credential.ts";
import { ask, outcomeResponse } from "./rest.ts";
import { admit, callerOf, headerCredential, nobody } from "./rest-guard.ts";
import { onlyParameters, readObject } from "./rest-input.ts";
import { answers, jsonBody } from "./rest-openapi.ts";
import type { HttpRoute, Visit } from "./rest-reply.ts";
import { json } from "./rest-reply.ts";

/** What needs no credential, because it is how to come by one. */
export function loginRoutes(context: TransportContext): HttpRoute[] {
  return [
    {
      verb: "POST",
      path: "/api/v1/challenges",
      describe: () => ({
        summary: "A nonce for a device to sign, for one login over REST.",
        tags: ["auth_sessions"],
        responses: answers(200, "The challenge", Challenge),
      }),
      handle: (visit) => challenge(context, visit),
    },
    {
      verb: "POST",
      path: "/api/v1/auth_sessions",
      describe: () => ({
        summary: "Logs in: a session_token for a credential, in the body or in the Authorization header.",
        tags: ["auth_sessions"],
        requestBody: jsonBody(LOGIN),
        responses: answers(201, "The login", authSessionCreate.result),
      }),
      handle: (visit) => logIn(context, visit),
    },
  ];
}

async function challenge(context: TransportContext, visit: Visit): Promise<Response> {
  onlyParameters(visit.url.searchParams, []);
  validate(Empty, await readObject(context, visit.request, context.strangers.meter(visit.remote)));
  return json(200, context.challenger.issue(visit.remote));
}

const SECRET = Type.String({ minLength: 1, maxLength: 1024 });
const TEXT = Type.String({ maxLength: 128 });
const LOGIN = Params({
  auth_token: Type.Optional(SECRET),
  password: Type.Optional(SECRET),
  session_token: Type.Optional(SECRET),
  device: Type.Optional(DeviceProof),
  /** A device signs it, as in connect. */
  client_id: Type.Optional(TEXT),
  /** What whoever is asked to pair it is shown. */
  client_name: Type.Optional(TEXT),
  platform: Type.Optional(TEXT),
});

async function logIn(context: TransportContext, visit: Visit): Promise<Response> {
  onlyParameters(visit.url.searchParams, []);
  const body = validate(
    LOGIN,
    await readObject(context, visit.request, context.strangers.meter(visit.remote)),
  );
  const origin = visit.request.headers.get("origin") ?? "";
  const said = credentialIn(body, { origin, spend: (nonce) => context.challenger.spend(nonce) });
  const named = headerCredential(context, visit);
  if (said !== null && named !== null) throw tooManyCredentials();
  const principal = await admit(context, said ?? named ?? nobody(context, visit), "rest", visit);
  return outcomeResponse(
    await ask(context.dispatch, callerOf(visit, principal), authSessionCreate.name, {}),
    201,
  );
}
