/**
 * Where a worker's code is. In an executable, and in a bundle, all modules have one place, and entry points lie beside it by
 * their path below `src/`: as they were written in an executable, as JavaScript in a bundle.
 */
export function workerUrl(worker: "watchdog" | "isolate"): URL {
  const here = import.meta.url;
  if (here.endsWith("/worker-url.ts")) return new URL(`./${worker}.ts`, here);
  return new URL(`./plugin/${worker}.${here.endsWith(".js") ? "js" : "ts"}`, here);
}
