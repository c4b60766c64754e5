import { expect, test } from "bun:test";
import { createGateway } from "../../src/embed/create.ts";
import type { GatewayConfig } from "../../src/embed/config.ts";
import { createLogbook } from "../support/logbook.ts";
import { plainConfig, temporary } from "./embed.fixture.ts";

test("a program's own source of the configuration is read again when it says so, and by no one else", async () => {
  await using directory = await temporary();
  let config: GatewayConfig = plainConfig(directory.path);
  const phases: string[] = [];
  const found = () => ({ config, warnings: [], file: null, files: [] });
  const source = { first: found(), read: found, onReload: (state: string) => void phases.push(state) };
  const gateway = createGateway(config, { log: createLogbook(), source });
  await gateway.start();
  config = { ...config, gateway: { max_connections: 700 }, storage: { durability: "normal" } };
  expect(gateway.reload()).toEqual({
    changed: ["gateway.max_connections"],
    restart_needed: ["storage.durability"],
  });
  expect(gateway.status().config.max_connections).toBe(700);
  config = { ...config, gateway: { max_connections: 0 } };
  expect(() => gateway.reload()).toThrow("gateway.max_connections");
  expect(gateway.status().config.max_connections).toBe(700);
  expect(phases).toEqual(["begins", "over", "begins", "over"]);
  await gateway.stop();
});

test("without one there is nothing to read again", async () => {
  await using directory = await temporary();
  const gateway = createGateway(plainConfig(directory.path), { log: createLogbook() });
  expect(() => gateway.reload()).toThrow("there is none to read again");
});
