import { existsSync } from "node:fs";
import type { Io } from "./io.ts";
import { serviceKeys } from "./service-environment.ts";
import type { ServicePlace } from "./service-place.ts";
import { KINDS, servicePlace } from "./service-place.ts";
import { SYSTEM } from "./systemd-unit.ts";

/** The service that reads a file, where one is installed. */
export function serviceReading(file: string, io: Io): ServicePlace | null {
  return installed(io).find(({ config }) => config === file) ?? null;
}

/** The variables it is started with; of no service, those that are here. */
export function variablesOf(service: ServicePlace | null, io: Io): Io["env"] {
  if (service === null) return io.env;
  return service.kind === "systemd" ? serviceKeys() : {};
}

/** What is left to do. `unseen`: the variable of this shell that the file names and the service does not have. */
export function stepsAfter(service: ServicePlace | null, unseen: string | null, io: Io): string[] {
  if (service === null) {
    const other = installed(io).map(
      ({ config }) => `the service reads ${config}, not this file: --config ${config} writes that one`,
    );
    return ["start the gateway with: agentbus serve", ...other];
  }
  const isSystem = service.kind === "systemd";
  const where = isSystem
    ? `put the line ${unseen}=… into ${SYSTEM.environment} (chmod 600)`
    : "name a file that holds it, as api_key_file in the place of api_key";
  return [
    ...(unseen === null ? [] : [`the service does not see ${unseen} of this shell: ${where}`]),
    `have the service read it with: ${isSystem ? "systemctl restart agentbus" : "agentbus service install"}`,
  ];
}

/** Those that are of this user; root's is that of the machine. */
function installed(io: Io): ServicePlace[] {
  const isRoot = process.geteuid?.() === 0;
  return KINDS.filter((kind) => (kind === "systemd") === isRoot)
    .map((kind) => servicePlace(io, kind))
    .filter(({ file }) => existsSync(file));
}
