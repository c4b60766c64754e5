import { expect, test } from "bun:test";
import { startReceiver } from "../support/webhook-receiver.ts";
import { agentbus, serve, workplace } from "../support/executable.ts";

const HERE = ["--data-dir", "data"];

test("webhook create, list, update, test, deliveries and delete, on the running gateway and without one", async () => {
  using place = workplace();
  await using receiver = startReceiver();
  place.file("agentbus.toml", '[webhooks]\nallow = ["127.0.0.1"]\n');
  const run = (...argv: string[]) => agentbus([...argv, ...HERE], { cwd: place.path });
  const made = await run("webhook", "create", receiver.url, "message.created", "app.*", "--name", "there");
  expect([made.code, made.out, made.err]).toEqual([
    0,
    expect.stringMatching(/^whsec_\S{44}\n$/),
    expect.stringMatching(/^whk_\w+: this is the only time the secret is shown\.\n$/),
  ]);
  await using _running = await serve(place.path, ["--port", "0", ...HERE]);
  expect((await run("webhook", "test", "there")).out).toMatch(/^taken: 204, \d+ ms\n$/);
  await run("call", "session.create", "session_id=s");
  await run("call", "chat.inject", "session_id=s", "role=user", "content=hello");
  const [, event] = await receiver.until(2);
  expect(event?.body.data.payload.message.content).toBe("hello");
  receiver.otherwise = 500;
  const refused = await run("webhook", "test", "there");
  expect([refused.code, refused.out]).toEqual([
    1,
    expect.stringMatching(/^not taken: answered 500, \d+ ms\n$/),
  ]);
  expect((await run("webhook", "list")).out).toMatch(
    /^id +name +user +url +events +state\nwhk_\w+ +there +owner +http:\S+ +message\.created app\.\* +on\n$/,
  );
  expect((await run("webhook", "update", "there", "run.completed", "--disable")).out).toBe(
    "changed; it is off\n",
  );
  expect((await run("webhook", "deliveries", "there")).out).toMatch(/^delivery +event .*\n$/);
  expect((await run("webhook", "redeliver", "there")).out).toBe("delivered: 0, failed: 0\n");
  expect((await run("webhook", "delete", "there")).out).toBe("deleted\n");
});
