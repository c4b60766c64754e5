#!/usr/bin/env bun
import "./cli/production.ts";
import { processIo } from "./cli/io.ts";
import { run } from "./cli/run.ts";

// What is still on its way to a pipe would be lost with the process, and so would what is told of a write that failed.
void run(process.argv.slice(2), processIo()).then((code) =>
  process.stdout.write("", () => setImmediate(() => process.exit(code))),
);
