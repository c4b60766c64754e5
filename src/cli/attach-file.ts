import type { Stats } from "node:fs";
import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import { basename, resolve } from "node:path";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/error.ts";
import { reasonOf } from "../config/layer.ts";
import type { Attachment } from "../protocol/api/attachment.ts";
import { CommandError } from "./exit.ts";
import type { Io } from "./io.ts";
import { visible } from "./table.ts";

/** A file of this machine that can be read. */
export interface LocalFile {
  readonly path: string;
  readonly name: string;
  readonly bytes: number;
}

/** Where paths begin. */
export type Place = Pick<Io, "cwd" | "env">;

const UNITS = ["bytes", "KB", "MB", "GB"];

/** A path as a shell would have it: `~` is the home directory. */
export function expandPath(path: string, { cwd, env }: Place): string {
  return resolve(
    cwd,
    path.replace(/^~(?=\/|$)/, () => env["HOME"] || homedir()),
  );
}

/** @throws CommandError that says why it cannot be attached */
export function localFile(said: string, place: Place): LocalFile {
  const path = expandPath(said, place);
  const shown = visible(said);
  const found = statOf(path, shown);
  if (found.isDirectory()) throw new CommandError(`${shown} is a directory: attach the files in it`);
  if (!found.isFile()) throw new CommandError(`${shown} is no file: write it to one first`);
  return { path, name: basename(path), bytes: found.size };
}

function statOf(path: string, shown: string): Stats {
  try {
    accessSync(path, constants.R_OK);
    return statSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CommandError(
      code === "ENOENT" ? `there is no file ${shown}` : `cannot read ${shown}: ${reasonOf(error)}`,
    );
  }
}

/** @throws ClientError that names the file */
export async function uploadFile(
  client: Client,
  { path, name }: LocalFile,
  signal?: AbortSignal,
): Promise<Attachment> {
  try {
    return await client.upload(Bun.file(path), { name, ...(signal && { signal }) });
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    const { code, message, details, retryable, retry_after_ms } = error;
    throw new ClientError(code, `${visible(name)} was not attached: ${message}`, {
      details,
      retryable,
      retry_after_ms,
    });
  }
}

/** An attachment in few words, as of a message that has it. */
export function attachmentText({ type, name, bytes }: Pick<Attachment, "type" | "name" | "bytes">): string {
  return `${type} ${visible(name)}, ${sizeText(bytes)}`;
}

export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1_000 && unit < UNITS.length - 1) {
    value /= 1_000;
    unit++;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}
