import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Empty, Params } from "../schema.ts";

const name = Type.String({ description: "of the skill and of its folder" });

export const skillList = defineMethod({
  name: "skill.list",
  scope: "chat.read",
  doc: "The skills of this gateway by name, at most 256 KiB of them at once, and what is wrong with those that cannot be used.",
  params: Params({
    cursor: Type.Optional(Type.String({ maxLength: 256, description: "`next` of the page before" })),
  }),
  result: Type.Object({
    skills: Type.Array(
      Type.Object({
        name,
        state: Type.Union(
          [Type.Literal("ready"), Type.Literal("stale"), Type.Literal("broken"), Type.Literal("shadowed")],
          {
            description:
              "stale: broken now, its last good version is used; shadowed: another of the same name is used",
          },
        ),
        directory: Type.String({ description: "which of `directories` it is in" }),
        reason: Type.Optional(Type.String({ description: "why it is not ready" })),
        description: Type.Optional(Type.String()),
        license: Type.Optional(Type.String()),
        compatibility: Type.Optional(Type.String()),
        metadata: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
        allowed_tools: Type.Optional(Type.Array(Type.String())),
      }),
    ),
    directories: Type.Array(
      Type.Object({
        directory: Type.String(),
        found: Type.Boolean(),
        reason: Type.Optional(Type.String({ description: "what is wrong with it" })),
      }),
      { description: "the skill of a directory wins over those of the same name in later ones" },
    ),
    next: Type.Optional(Type.String()),
  }),
});

export const skillReload = defineMethod({
  name: "skill.reload",
  scope: "admin",
  mutates: true,
  doc: "Looks at the skills now, without waiting for a change to be noticed.",
  audit: () => ({}),
  params: Empty,
  result: Type.Object({
    changed: Type.Array(name, { description: "skills that are not what they were" }),
  }),
});
