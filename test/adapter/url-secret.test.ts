import { describe, expect, test } from "bun:test";
import { GatewayError } from "../../src/protocol/errors.ts";
import { METHOD_ROUTES } from "../../src/transport/rest-routes.ts";
import { refuseSecretsInUrl } from "../../src/transport/url-secret.ts";
import { startHttp } from "./http.fixture.ts";

const SECRET = "s3cret";

function refusal(query: string, ticket = false): GatewayError | null {
  try {
    refuseSecretsInUrl(`http://localhost/api/v1/sessions?${query}`, { ticket });
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(GatewayError);
    return error as GatewayError;
  }
}

describe("a secret in a URL", () => {
  test.each([
    "token",
    "Token",
    "auth_token",
    "access-token",
    "accessToken",
    "id_token",
    "refresh.token",
    "tok%65n",
    "password",
    "user_password",
    "passwd",
    "pwd",
    "pass",
    "passphrase",
    "password2",
    "PASSWORD",
    "key",
    "api_key",
    "apikey",
    "x-api-key",
    "access_key",
    "private_key",
    "secret_key",
    "secret",
    "client_secret",
    "auth",
    "authorization",
    "credential",
    "credentials",
    "bearer",
    "jwt",
    "sig",
    "signature",
    "X-Amz-Signature",
    "cookie",
    "session_token",
    "ticket",
    "Ticket",
  ])("%s", (name) => {
    const error = refusal(`a=b&${name}=${SECRET}`);
    expect([error?.reason, error?.http, error?.details]).toEqual([
      "INVALID_REQUEST",
      400,
      { kind: "secret_in_url" },
    ]);
    expect(error?.message).toContain("Authorization header");
    expect(error?.message).not.toContain(SECRET);
  });

  test("is known by itself, whatever it is called", () => {
    for (const prefix of ["agb_", "ags_", "agt_"]) {
      const secret = `${prefix}${SECRET}`;
      for (const query of [
        `q=${secret}`,
        secret,
        `${secret}=`,
        `%61${secret.slice(1)}`,
        `a=1&q=${secret}&b=2`,
      ]) {
        expect([query, refusal(query)?.details]).toEqual([query, { kind: "secret_in_url" }]);
        expect(refusal(query)?.message).not.toContain(SECRET);
      }
    }
  });

  test("a ticket may stand there where one is taken, by its one name", () => {
    expect(refusal("ticket=agt_1&until=run_1", true)).toBeNull();
    expect(refusal("ticket=agt_1", false)).not.toBeNull();
    expect(refusal("TICKET=agt_1", true)).not.toBeNull();
    expect(refusal("ticket=agt_1&token=x", true)).not.toBeNull();
  });

  test("nothing that is asked for in a URL looks like one", async () => {
    await using at = await startHttp();
    const names = METHOD_ROUTES.filter(({ takes }) => takes === "query").flatMap(({ method }) =>
      Object.keys(at.context.definition(method)?.params.properties ?? {}),
    );
    expect(names).toContain("cursor");
    for (const name of [...names, "after", "epoch", "until", "run", "token_id", "session_id", "author"]) {
      expect([name, refusal(`${name}=x`)]).toEqual([name, null]);
    }
    expect([refusal(""), refusal("query=my+token+is+lost")]).toEqual([null, null]);
  });
});
