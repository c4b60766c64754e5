import { describe, expect, test } from "bun:test";
import { commands } from "../../src/cli/commands.ts";
import { completionsOf } from "../../src/cli/completions.ts";

describe("what the last word may become", () => {
  test.each([
    [["tok"], ["token"]],
    [
      ["token", ""],
      ["create", "list", "revoke", "rotate"],
    ],
    [
      ["device", "re"],
      ["register", "reject", "rename", "revoke"],
    ],
    [["chat", "--app"], ["--approve"]],
    [
      ["chat", "--approve", ""],
      ["allow", "deny"],
    ],
    [["chat", "--session", ""], []],
    [
      ["completions", ""],
      ["bash", "zsh", "fish"],
    ],
    [["nothing", ""], []],
    [["token", "create", "--ro"], ["--role"]],
  ])("%j", (words, found) => {
    expect(completionsOf(words, commands)).toEqual(found);
  });

  test("every command by its first word", () => {
    const heads = new Set(commands.map(({ name }) => name.split(" ")[0] ?? ""));
    expect(completionsOf([""], commands)).toEqual([...heads, "help"].toSorted());
  });
});
