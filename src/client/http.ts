import type { FilesDeps } from "./files.ts";
import { Files } from "./files.ts";
import type { Link, LinkEvents } from "./link.ts";
import type { RestOptions } from "./rest-access.ts";
import { RestAccess } from "./rest-access.ts";
import { openRestLink } from "./rest-link.ts";

/** The way over HTTP: in place of a socket, and beside it for files. */
export interface Http {
  open(timeout_ms: number, events: LinkEvents): Link;
  /** The same whenever it is asked for. */
  files(deps: FilesDeps): Files;
  /** Gives the login back. */
  close(): Promise<void>;
}

/** Loaded where it is needed, so it imports nothing that is there before: a page is given it as one more file. */
export function createHttp(options: RestOptions): Http {
  const access = new RestAccess(options);
  let files: Files | null = null;
  return {
    open: (timeout_ms, events) => openRestLink(access, timeout_ms, events),
    files: (deps) => (files ??= new Files(access, deps)),
    close: () => access.close(),
  };
}
