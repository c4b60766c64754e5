import { expect, test } from "bun:test";
import { environmentIn } from "../../src/cli/service-environment.ts";

test("an environment file is read as systemd reads it", () => {
  const text = [
    "# a comment",
    "; another",
    "",
    "PLAIN=key#1",
    "  SPACED = no",
    "TRIMMED=  some words  ",
    'DOUBLE="two \\"words\\" # here"',
    'KEPT="a\\nb \\$c"',
    "SINGLE='a \\ b'",
    "ESCAPED=a\\ b",
    "export NOT=one",
    "EMPTY=",
    "PLAIN2=a=b",
  ].join("\n");
  expect(environmentIn(text)).toEqual({
    PLAIN: "key#1",
    TRIMMED: "some words",
    DOUBLE: 'two "words" # here',
    KEPT: "a\\nb $c",
    SINGLE: "a \\ b",
    ESCAPED: "a b",
    EMPTY: "",
    PLAIN2: "a=b",
  });
});
