import type { FSWatcher } from "node:fs";
import { watch } from "node:fs";

/** A folder to be told of. */
export interface WatchedFolder {
  /** Real path. */
  readonly path: string;
  /** What tells it from another folder that takes its place. */
  readonly identity: string;
  /** Only what happens to the file of this name matters; null: everything. */
  readonly file: string | null;
}

/**
 * Folders that are watched, not what is below them. A watch is a hint: the system may have none left, or not see what
 * others do on a network drive, so whoever relies on it looks now and then, too.
 */
export class WatchedFolders {
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #changed: () => void;
  #deaf = false;

  /** `changed` is called for every change, many times in a row. */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Whether some folder could not be watched. */
  get deaf(): boolean {
    return this.#deaf;
  }

  /** Watches these and no others; whether any is new: it may have changed before it was watched. */
  set(folders: readonly WatchedFolder[]): boolean {
    const wanted = new Map(folders.map((folder) => [`${folder.identity} ${folder.path}`, folder]));
    for (const [key, watcher] of this.#watchers) {
      if (wanted.has(key)) continue;
      watcher.close();
      this.#watchers.delete(key);
    }
    this.#deaf = false;
    let added = false;
    for (const [key, folder] of wanted) {
      if (this.#watchers.has(key)) continue;
      const watcher = this.#watch(folder, key);
      if (watcher === null) this.#deaf = true;
      else {
        this.#watchers.set(key, watcher);
        added = true;
      }
    }
    return added;
  }

  /** Idempotent. */
  close(): void {
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** Null: the system has no watch left, or the folder is gone. */
  #watch({ path, file }: WatchedFolder, key: string): FSWatcher | null {
    try {
      const watcher = watch(path, (_event, name) => {
        // No name: the folder itself was moved or removed.
        if (file === null || typeof name !== "string" || name === file) this.#changed();
      });
      watcher.on("error", () => {
        watcher.close();
        if (this.#watchers.get(key) === watcher) this.#watchers.delete(key);
        this.#changed();
      });
      return watcher;
    } catch {
      // Looked at now and then instead.
      return null;
    }
  }
}
