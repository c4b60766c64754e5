import { definePlugin, Type } from "agentbus/plugin";

const Sides = Type.Object({ sides: Type.Integer({ minimum: 2, maximum: 1_000 }) });

function roll(sides: number): number {
  return 1 + Math.floor(Math.random() * sides);
}

export default definePlugin({
  name: "dice",
  description: "Rolls dice.",
  methods: {
    "dice.roll": {
      scope: "chat.read",
      doc: "Rolls a die.",
      params: Sides,
      result: Type.Object({ rolled: Type.Integer() }),
      run: ({ sides }) => ({ rolled: roll(sides) }),
    },
  },
  tools: {
    roll_dice: {
      description: "Rolls a die with so many sides.",
      parameters: Sides,
      run: ({ sides }) => `You rolled ${roll(sides)}.`,
    },
  },
  routes: {
    "GET /:sides": {
      open: true,
      doc: "Rolls a die.",
      run: (_request, { params }) => ({ rolled: roll(Number(params["sides"])) }),
    },
  },
});
