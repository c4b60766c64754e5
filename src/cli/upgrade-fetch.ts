import { createHash } from "node:crypto";
import { reasonOf } from "../config/layer.ts";
import { CommandError } from "./exit.ts";
import { SIGNATURE, SUMS, archiveName, isSigned, readSums, versionIn } from "./release-file.ts";

const SUMS_BYTES = 1024 ** 2;
const ARCHIVE_BYTES = 512 * 1024 ** 2;
/** How long nothing may come. */
const IDLE_MS = 60_000;

/** A release whose signature was good. */
export interface Release {
  readonly version: string;
  /** Its archive for a target. */
  readonly file: string;
  readonly sha256: string;
  readonly url: string;
}

interface Wanted {
  readonly base_url: string;
  /** Null: the newest. */
  readonly version: string | null;
  readonly target: string;
  readonly keys: readonly string[];
}

/** What is published there, once its signature was checked. @throws CommandError that says what does not hold and what to do */
export async function findRelease({ base_url, version, target, keys }: Wanted): Promise<Release> {
  const place = version === null ? `${base_url}/latest/download` : `${base_url}/download/v${version}`;
  const [sums, signature] = await Promise.all([
    download(`${place}/${SUMS}`, SUMS_BYTES),
    download(`${place}/${SIGNATURE}`, SUMS_BYTES),
  ]);
  if (!isSigned(sums, signature, keys)) {
    throw new CommandError(
      `${place}/${SUMS} is not signed by a key this executable trusts: nothing was changed. ` +
        "Somebody may have changed the release, or its key is new (docs/releases.md): ask whoever publishes it",
    );
  }
  const files = readSums(new TextDecoder().decode(sums));
  const found = versionIn(files, target);
  if (found === null) throw new CommandError(`the release at ${place} has nothing for ${target}`);
  if (version !== null && found !== version)
    throw new CommandError(`${place} is version ${found}, not ${version}: nothing was changed`);
  const file = archiveName(found, target);
  // The newest may be another one by now.
  const url = `${base_url}/download/v${found}/${file}`;
  return { version: found, file, sha256: files.get(file) ?? "", url };
}

/** The bytes of its archive, which are those that were signed for. @throws CommandError */
export async function fetchArchive({ url, file, sha256 }: Release): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await download(url, ARCHIVE_BYTES);
  const actual = createHash("sha256").update(bytes).digest("hex");
  if (actual !== sha256) {
    throw new CommandError(
      `${file} is not what was published (SHA-256 ${actual}, not ${sha256}): nothing was changed. ` +
        "Try once more; if it stays, tell whoever publishes it",
    );
  }
  return bytes;
}

async function download(url: string, max_bytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const abort = new AbortController();
  const late = (): void => abort.abort(new Error(`nothing came for ${IDLE_MS / 1_000} s`));
  let timer = setTimeout(late, IDLE_MS);
  try {
    // As it is there: a server that packs what is packed already would change what is summed up.
    const options: BunFetchRequestInit = { signal: abort.signal, decompress: false };
    const response = await fetch(url, { ...options, headers: { "accept-encoding": "identity" } });
    if (!response.ok)
      throw new CommandError(`${url} is not there (HTTP ${response.status}): nothing was changed`);
    if (url.startsWith("https:") && !response.url.startsWith("https:"))
      throw new CommandError(`${url} leads to ${response.url}, which is not encrypted: nothing was changed`);
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > max_bytes) throw new CommandError(`${url} is larger than any release: nothing was changed`);
      chunks.push(chunk);
      clearTimeout(timer);
      timer = setTimeout(late, IDLE_MS);
    }
    const whole = new Uint8Array(bytes);
    let at = 0;
    for (const chunk of chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`cannot fetch ${url}: ${reasonOf(error)}; nothing was changed`);
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}
