import { basename } from "node:path";
import type { Candidate, Look, PluginDirectory } from "./directory.ts";
import { checkFile, lookInto } from "./directory.ts";
import type { Graph, GraphBounds } from "./graph.ts";
import { graphOf } from "./graph.ts";

/** A candidate, as it is on disk. */
export interface Inspected extends Graph {
  /** Why it is not even run; null: it may be. */
  readonly reason: string | null;
}

/** Reads what a plug-in is made of; none of it is run. Never rejects. */
export async function inspect(
  { entry }: Candidate,
  looks: readonly Look[],
  bounds: GraphBounds,
): Promise<Inspected> {
  const roots = looks.flatMap(({ real }) => (real === null ? [] : [real]));
  try {
    return { ...(await graphOf(entry, bounds, (path) => checkFile(path, roots))), reason: null };
  } catch (error) {
    const reason = reasonOf(error);
    return { files: [entry], digest: reason, reason };
  }
}

/** What is in some directories and what is wrong with it, by where it is; nothing is run. */
export async function inspectAll(
  directories: readonly PluginDirectory[],
  bounds: GraphBounds & { readonly plugins: number },
): Promise<{ readonly source: string; readonly reason: string | null }[]> {
  const looks = await Promise.all(directories.map((directory) => lookInto(directory, bounds.plugins)));
  const wrong = looks.flatMap(({ directory, reason }) =>
    reason === null ? [] : [{ source: directory.label, reason }],
  );
  const candidates = looks.flatMap(({ found }) => found);
  const inspected = candidates.map(async (candidate) => {
    const { reason } = await inspect(candidate, looks, bounds);
    return { source: candidate.source, reason };
  });
  return [...wrong, ...(await Promise.all(inspected))];
}

/** Why a module is no plug-in, with the place in it where that is known. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return `it throws ${String(error)}`;
  const { position } = error as { position?: { file?: string; line?: number; column?: number } | null };
  if (position?.line === undefined) return error.message;
  return `${error.message} (${basename(position.file ?? "").replace(/\?.*$/, "")}:${position.line}:${position.column})`;
}
