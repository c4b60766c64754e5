import { describe, expect, test } from "bun:test";
import { Readable } from "node:stream";
import type { Command } from "../../src/cli/args.ts";
import { parseInput } from "../../src/cli/args.ts";
import { commands } from "../../src/cli/commands.ts";
import { curlLine, loggedEvents } from "../../src/cli/demo-rest.ts";
import { EXIT, UsageError, exitCodeOf } from "../../src/cli/exit.ts";
import { commandHelp } from "../../src/cli/help.ts";
import type { Io } from "../../src/cli/io.ts";
import { run } from "../../src/cli/run.ts";
import { ClientError } from "../../src/client/error.ts";
import { GatewayError } from "../../src/protocol/errors.ts";

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function agentbus(...argv: string[]): Promise<Result> {
  const result = { code: -1, out: "", err: "" };
  const io: Io = {
    env: {},
    cwd: process.cwd(),
    stdin: Readable.from([]),
    tty: false,
    write: (text) => void (result.out += text),
    out: (line) => void (result.out += `${line}\n`),
    err: (line) => void (result.err += `${line}\n`),
    outlast: () => undefined,
  };
  return { ...result, code: await run(argv, io), out: result.out, err: result.err };
}

const SAMPLE: Command = {
  name: "sample",
  summary: "a command",
  usage: "[WHAT]",
  args: [0, 1],
  options: {
    session: { value: "ID", short: "s", summary: "which" },
    json: { summary: "as JSON" },
  },
  run: async () => 0,
};

describe("flags", () => {
  test("values, switches, short ones and arguments, in any order", () => {
    const input = parseInput(SAMPLE, ["one", "--session=a", "--json", "-s", "b"]);
    expect(input.args).toEqual(["one"]);
    expect([input.text("session"), input.on("json"), input.on("help"), input.help]).toEqual([
      "b",
      true,
      false,
      false,
    ]);
  });

  test("every value of a flag, in order; the last one where there may be one", () => {
    const input = parseInput(SAMPLE, ["-s", "a", "--session=b", "-s", "c"]);
    expect(input.texts("session")).toEqual(["a", "b", "c"]);
    expect([input.text("session"), input.texts("json")]).toEqual(["c", []]);
  });

  test("what comes after -- is an argument", () => {
    expect(parseInput(SAMPLE, ["--", "--json"]).args).toEqual(["--json"]);
  });

  test.each([
    [
      ["--sesion", "a"],
      "sample has no flag --sesion; did you mean --session? (agentbus sample --help lists them)",
    ],
    [["--zzzzzz"], "sample has no flag --zzzzzz (agentbus sample --help lists them)"],
    [["--session"], "sample: --session needs ID (agentbus sample --help tells more)"],
    [["--session="], "sample: --session needs ID (agentbus sample --help tells more)"],
    [["--json=yes"], "sample: --json takes no value (agentbus sample --help tells more)"],
    [["one", "two"], 'sample does not take "two": agentbus sample [WHAT]'],
  ])("%p is refused", (argv, message) => {
    expect(() => parseInput(SAMPLE, argv)).toThrow(new UsageError(message));
  });

  test("an argument that is missing is refused, unless help is wanted", () => {
    const strict: Command = { ...SAMPLE, args: [1, 1], usage: "WHAT" };
    expect(() => parseInput(strict, [])).toThrow(new UsageError("sample needs more: agentbus sample WHAT"));
    expect(parseInput(strict, ["--help"]).help).toBe(true);
  });
});

describe("the table", () => {
  test("every command has a name of its own, a summary and a help that names its flags", () => {
    expect(new Set(commands.map(({ name }) => name)).size).toBe(commands.length);
    for (const command of commands) {
      expect(command.name, command.name).toMatch(/^[a-z]+( [a-z]+)?$/);
      expect(command.summary.length, command.name).toBeGreaterThan(10);
      for (const flag of Object.keys(command.options)) expect(commandHelp(command)).toContain(`--${flag}`);
    }
  });

  test("no flag takes a token: the process list would show it", () => {
    const flags = commands.flatMap(({ options }) => Object.entries(options));
    for (const [name, { value }] of flags)
      if (name.includes("token")) expect([name, value]).toEqual(["token-file", "FILE"]);
  });
});

describe("help", () => {
  test.each([[["--help"]], [["-h"]], [["help"]]])("%p lists every command", async (argv) => {
    const { code, out } = await agentbus(...argv);
    expect(code).toBe(0);
    for (const { name, summary } of commands) {
      expect(out).toContain(`  ${name}`);
      expect(out).toContain(summary);
    }
  });

  test.each([[["watch", "--help"]], [["help", "watch"]], [["watch", "-h"]]])(
    "%p tells of one",
    async (argv) => {
      const { code, out } = await agentbus(...argv);
      expect(code).toBe(0);
      expect(out).toBe(`usage: agentbus watch SESSION [FLAGS]

the events of a session as JSON lines, until Ctrl-C; resumes

The first line says where the events start: session.resumed, session.snapshot or session.reset, as in the SSE stream.

  --after EPOCH.SEQ             start after this event; 0: from the beginning of the log
  --url URL                     the gateway; else AGENTBUS_URL, else the local one
  --token-file FILE             a file with the token; else AGENTBUS_TOKEN, the local gateway's own, or this machine's pairing
  --ca FILE                     PEM of the gateway's certificate or its authority; else AGENTBUS_CA
  --fingerprint SHA256          the gateway's certificate, as the gateway shows it; else AGENTBUS_FINGERPRINT
  --client-cert FILE            PEM with a certificate and its key, for a gateway that asks; else AGENTBUS_CLIENT_CERT
  --config FILE                 default: AGENTBUS_CONFIG, agentbus.toml here; for root the service
  --host HOST                   server.host
  --port PORT                   server.port; 0 picks a free one
  --data-dir DIR                server.data_dir
  -h, --help                    this text
`);
    },
  );

  test("of a group lists its commands", async () => {
    const { code, out } = await agentbus("token", "--help");
    expect(code).toBe(0);
    for (const verb of ["create", "list", "rotate", "revoke"]) expect(out).toContain(`  token ${verb}`);
    expect(out).not.toContain("serve");
  });
});

describe("what cannot be understood is one line and exit 2", () => {
  test.each([
    [["servr"], 'agentbus: no command "servr"; did you mean serve? (agentbus --help lists them)'],
    [["frobnicate"], 'agentbus: no command "frobnicate" (agentbus --help lists them)'],
    [
      ["token"],
      "agentbus: token needs one of create, list, rotate, revoke (agentbus token --help tells more)",
    ],
    [
      ["token", "creat"],
      'agentbus: no command "token creat"; did you mean token create? (agentbus token --help lists them)',
    ],
    [
      ["--porte", "1"],
      "agentbus: serve has no flag --porte; did you mean --port? (agentbus serve --help lists them)",
    ],
    [["watch"], "agentbus: watch needs more: agentbus watch SESSION"],
    [["watch", "s", "--after", "x"], 'agentbus: "x" is no cursor: write EPOCH.SEQ, like k3v9q2a7.42, or 0'],
    [["call", "system.info", "[1]"], "agentbus: the params are a JSON object"],
    [["chat"], "agentbus: chat has nothing to send: the message is empty"],
    [["status", "--url", "nowhere"], 'agentbus: "nowhere" is no URL: write it like http://127.0.0.1:18789'],
  ])("%p", async (argv, line) => {
    expect(await agentbus(...argv)).toEqual({ code: EXIT.usage, out: "", err: `${line}\n` });
  });
});

test("an error has the exit code of what it means for a script", () => {
  expect(exitCodeOf(new Error("x"))).toBe(1);
  expect(exitCodeOf(new ClientError("CONFLICT", "x"))).toBe(1);
  expect(exitCodeOf(new UsageError("x"))).toBe(2);
  expect(exitCodeOf(new ClientError("UNREACHABLE", "x"))).toBe(3);
  expect(exitCodeOf(new ClientError("CLOSED", "x"))).toBe(3);
  expect(exitCodeOf(new ClientError("UNAUTHORIZED", "x"))).toBe(4);
  expect(exitCodeOf(new GatewayError("FORBIDDEN", "x"))).toBe(4);
  expect(exitCodeOf(new GatewayError("UNAVAILABLE", "x"))).toBe(1);
});

describe("the demo's REST", () => {
  const base = "http://127.0.0.1:1";

  test("a curl line is what is called, with the token as a variable", () => {
    expect(curlLine(base, { method: "GET", path: "/health", open: true })).toBe(
      "curl 'http://127.0.0.1:1/health'",
    );
    expect(curlLine(base, { method: "POST", path: "/api/v1/sessions", body: { title: "a b" } })).toBe(
      `curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"title":"a b"}' 'http://127.0.0.1:1/api/v1/sessions'`,
    );
    expect(curlLine(base, { method: "DELETE", path: "/x" })).toBe(
      `curl -X DELETE -H "Authorization: Bearer $TOKEN" 'http://127.0.0.1:1/x'`,
    );
  });

  test("an event stream gives its logged events alone", () => {
    const stream = [
      "retry: 1000\n:",
      'id: e.1\nevent: session.resumed\ndata: {"from":1}',
      'id: e.2\nevent: message.created\ndata: {"seq":2}',
      'event: session.synced\ndata: {"at":2}',
      'id: e.3\nevent: run.completed\ndata: {"seq":3}',
      "event: end\ndata: {}",
      "",
    ].join("\n\n");
    expect(loggedEvents(stream)).toEqual(['{"seq":2}', '{"seq":3}']);
  });
});
