#!/usr/bin/env bun
import "./cli/production.ts";
import { processIo } from "./cli/io.ts";
import { run } from "./cli/run.ts";

// What is still on its way to a pipe would be lost with the process.
void run(process.argv.slice(2), processIo()).then((code) =>
  process.stdout.write("", () => process.exit(code)),
);
