import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Empty, Params, Timestamp } from "../schema.ts";

const names = (description: string) => Type.Array(Type.String(), { description });

export const PluginState = Type.Union(
  [Type.Literal("ready"), Type.Literal("stale"), Type.Literal("failed")],
  {
    description: "stale: its newest version cannot be loaded, the one before it is used",
  },
);

export const pluginList = defineMethod({
  name: "plugin.list",
  scope: "admin",
  doc: "The plug-ins of this gateway, what each adds, and what is wrong with those that cannot be used.",
  params: Empty,
  result: Type.Object({
    plugins: Type.Array(
      Type.Object({
        name: Type.String({ description: "of the plug-in; of its file where that has not said it yet" }),
        state: PluginState,
        reason: Type.Optional(Type.String({ description: "why it is not ready" })),
        source: Type.String({
          description: "its file, in its directory; `use:N`: the program that the gateway is part of",
        }),
        version: Type.Optional(Type.String()),
        description: Type.Optional(Type.String()),
        isolated: Type.Boolean({ description: "it runs in a Worker" }),
        loaded_at: Type.Optional(Timestamp),
        methods: names("methods it adds"),
        tools: names("tools it adds"),
        providers: names("providers it adds"),
        events: names("events it listens to"),
        routes: names("routes it adds, each a verb and a path"),
        hooks: names("hooks it has"),
      }),
    ),
    directories: Type.Array(
      Type.Object({
        directory: Type.String(),
        found: Type.Boolean(),
        reason: Type.Optional(Type.String({ description: "what is wrong with it" })),
      }),
    ),
  }),
});

export const pluginReload = defineMethod({
  name: "plugin.reload",
  scope: "admin",
  mutates: true,
  doc: "Loads the plug-ins again that changed or failed, without waiting for a change to be noticed; with a name that one in any case.",
  audit: ({ name }) => (name === undefined ? {} : { target: name }),
  params: Params({ name: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })) }),
  result: Type.Object({
    changed: Type.Array(Type.String(), { description: "plug-ins that are not what they were" }),
  }),
});
