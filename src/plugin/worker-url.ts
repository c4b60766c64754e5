import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Where the workers lie beside the one place all modules have: in our executable, in the package, in an executable made with it. */
const PLACES = ["./plugin/NAME.ts", "./plugin/NAME.js", "./node_modules/agentbus/lib/plugin/NAME.js"];

/** Where a worker's code is. */
export function workerUrl(worker: "watchdog" | "isolate"): URL {
  const here = import.meta.url;
  if (here.endsWith("/worker-url.ts")) return new URL(`./${worker}.ts`, here);
  const urls = PLACES.map((place) => new URL(place.replace("NAME", worker), here));
  const found = urls.find((url) => existsSync(fileURLToPath(url))) ?? urls[0];
  if (found === undefined) throw new Error(`there is no code for the ${worker}`);
  return found;
}
