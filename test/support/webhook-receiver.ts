import { proves } from "../../src/automation/signature.ts";

/** What a receiver was sent. */
export interface Received {
  readonly id: string;
  readonly signature: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  readonly body: any;
  readonly headers: Headers;
  readonly text: string;
}

export interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly host: string;
  readonly got: Received[];
  /** What the next requests are answered with; 204 when there is nothing of it left. */
  readonly answers: (Response | "hang")[];
  /** What all others are answered with. */
  otherwise: number;
  /** Resolves when so many came. */
  until(count: number): Promise<Received[]>;
}

/** Takes webhooks on 127.0.0.1. */
export function startReceiver(): Receiver {
  const got: Received[] = [];
  const answers: (Response | "hang")[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    async fetch(request) {
      const text = await request.text();
      const id = request.headers.get("webhook-id") ?? "";
      const signature = request.headers.get("webhook-signature") ?? "";
      got.push({ id, signature, text, body: JSON.parse(text), headers: request.headers });
      const answer = answers.shift() ?? new Response(null, { status: receiver.otherwise });
      return answer === "hang" ? new Promise<Response>(() => undefined) : answer;
    },
  });
  const receiver: Receiver = {
    url: `http://127.0.0.1:${server.port}/in`,
    host: `127.0.0.1:${server.port}`,
    got,
    answers,
    otherwise: 204,
    async until(count) {
      const end = Date.now() + 20_000;
      while (got.length < count) {
        if (Date.now() > end)
          throw new Error(
            `${got.length} of ${count} came: ${JSON.stringify(got.map(({ body }) => body.type))}`,
          );
        await Bun.sleep(5);
      }
      return got;
    },
    async [Symbol.asyncDispose]() {
      await server.stop(true);
    },
  };
  return receiver;
}

/** Whether what came was signed with a secret. */
export function isSigned({ headers, text }: Received, secret: string): boolean {
  const now = Number(headers.get("webhook-timestamp"));
  const body = new TextEncoder().encode(text);
  return proves(secret, { verify: "standard", header: "webhook-signature", headers, body, now });
}
