import { realpath, stat } from "node:fs/promises";
import type { Limits } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { SkillDirectoryView, SkillView, Skills } from "../core/skills.ts";
import type { Look, SkillDirectory } from "./directory.ts";
import { SKILL_FILE, lookInto } from "./directory.ts";
import type { Skill, Views } from "./view.ts";
import { fingerprints, viewsOf } from "./view.ts";
import type { WatchedFolder } from "./watched.ts";
import { WatchedFolders } from "./watched.ts";

export interface CatalogueOptions {
  /** The one that wins first. */
  readonly directories: readonly SkillDirectory[];
  readonly auto_reload: boolean;
  readonly limits: Pick<Limits, "skills" | "skill_bytes" | "skills_bytes" | "skill_entries">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** After a change is noticed, so long for what belongs to it; and no more looks than one in so long. */
const GATHER_MS = 60;
const GAP_MS = 250;
/** How often it is asked whether a directory has appeared or was put in another's place. */
const TICK_MS = 500;
/** Every so many of these all is looked at: links and network drives change unseen. */
const TICKS_PER_LOOK = 10;
const LINES = 20;

/** The skills of some directories. Until `start` there are none. */
export class Catalogue implements Skills {
  readonly #options: CatalogueOptions;
  readonly #watched = new WatchedFolders(() => this.#soon());
  readonly #listeners: ((names: readonly string[]) => void)[] = [];
  #looks: readonly Look[] = [];
  #now: Views = { views: [], usable: new Map() };
  #fingerprints: ReadonlyMap<string, string> = new Map();
  /** The look that is being made, and the one that begins after it. */
  #looking: Promise<readonly string[]> | null = null;
  #next: Promise<readonly string[]> | null = null;
  #cancelSoon: (() => void) | null = null;
  #cancelTick: (() => void) | null = null;
  #looked_at = Number.NEGATIVE_INFINITY;
  /** Of the directories, as the last look found them. */
  #signs = "";
  #version = 0;
  #closed = false;

  constructor(options: CatalogueOptions) {
    this.#options = options;
  }

  /** Reads them all, and follows what becomes of them where that is wished. Never rejects. */
  async start(): Promise<void> {
    await this.reload();
    if (this.#options.auto_reload && !this.#closed) this.#tick(1);
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    this.#cancelSoon?.();
    this.#cancelTick?.();
    this.#watched.close();
  }

  /** Called with the names of skills that are not what they were. */
  onChange(listener: (names: readonly string[]) => void): void {
    this.#listeners.push(listener);
  }

  /** Changes with what can be used. */
  get version(): number {
    return this.#version;
  }

  /** What can be used, by name in order. */
  get usable(): ReadonlyMap<string, Skill> {
    return this.#now.usable;
  }

  list(): readonly SkillView[] {
    return this.#now.views;
  }

  directories(): readonly SkillDirectoryView[] {
    return this.#looks.map(({ directory, real, reason }) => ({
      directory: directory.label,
      found: real !== null,
      ...(reason !== null && { reason }),
    }));
  }

  /** Looks that are asked for while one is made are one look after it: what it has read may be old by then. */
  reload(): Promise<readonly string[]> {
    if (this.#looking !== null) {
      this.#next ??= this.#looking.then(() => {
        this.#next = null;
        return this.#begin();
      });
      return this.#next;
    }
    return this.#begin();
  }

  #begin(): Promise<readonly string[]> {
    const looking = this.#look().finally(() => {
      if (this.#looking === looking) this.#looking = null;
    });
    this.#looking = looking;
    return looking;
  }

  async #look(): Promise<readonly string[]> {
    const { directories, limits, clock, auto_reload } = this.#options;
    // Before anything is read: what changes meanwhile is noticed at the next tick.
    const signs = await this.#signsOf();
    const roots = await realPaths(directories);
    const looks: Look[] = [];
    let room = limits.skills;
    for (const directory of directories) {
      const last = this.#looks.find((each) => each.directory === directory);
      const before = new Map(last?.found.map((skill) => [skill.name, skill]));
      const bounds = { skills: room, skill_bytes: limits.skill_bytes, entries: limits.skill_entries };
      const look = await lookInto(directory, { bounds, now: clock.now(), roots, before });
      room -= look.found.length;
      looks.push(look);
    }
    this.#looked_at = clock.monotonic();
    this.#signs = signs;
    if (this.#closed) return [];
    const changed = this.#take(looks);
    if (auto_reload && this.#watched.set(foldersOf(looks))) this.#soon();
    return changed;
  }

  /** From here on these are the skills. */
  #take(looks: readonly Look[]): readonly string[] {
    const { skills_bytes } = this.#options.limits;
    const now = viewsOf(looks, skills_bytes);
    const prints = fingerprints(now);
    const names = [...new Set([...this.#fingerprints.keys(), ...prints.keys()])];
    const changed = names.filter((name) => this.#fingerprints.get(name) !== prints.get(name)).sort();
    this.#tell(looks, now.views, changed);
    this.#looks = looks;
    if (changed.length === 0) return changed;
    this.#now = now;
    this.#fingerprints = prints;
    this.#version++;
    for (const listener of this.#listeners) listener(changed);
    return changed;
  }

  #tell(looks: readonly Look[], views: readonly SkillView[], changed: readonly string[]): void {
    const { log } = this.#options;
    for (const { directory, reason } of looks) {
      const before = this.#looks.find((each) => each.directory === directory)?.reason ?? null;
      if (reason !== null && reason !== before)
        log.warn({ directory: directory.label, reason }, "a directory of skills has a fault");
    }
    if (changed.length === 0) return;
    const news = new Set(changed);
    const wrong = views.filter(
      ({ name, state }) => news.has(name) && (state === "broken" || state === "stale"),
    );
    for (const { name, directory, reason, state } of wrong.slice(0, LINES)) {
      const what = state === "stale" ? "a skill is broken: its last good version stays" : "a skill is broken";
      log.warn({ skill: name, directory, reason }, what);
    }
    log.info({ changed: changed.slice(0, LINES), count: changed.length }, "skills were read");
  }

  /** Something has changed: looks after a moment, in which the rest of it happens. */
  #soon(): void {
    if (this.#cancelSoon !== null || this.#closed) return;
    const { clock } = this.#options;
    const wait = Math.max(GATHER_MS, this.#looked_at + GAP_MS - clock.monotonic());
    this.#cancelSoon = clock.after(wait, () => {
      this.#cancelSoon = null;
      void this.reload();
    });
  }

  #tick(count: number): void {
    const { clock } = this.#options;
    this.#cancelTick = clock.after(TICK_MS, () => {
      void this.#glance(count % TICKS_PER_LOOK === 0 || this.#watched.deaf).then(() => {
        if (!this.#closed) this.#tick(count + 1);
      });
    });
  }

  async #glance(all: boolean): Promise<void> {
    if (all || (await this.#signsOf()) !== this.#signs) await this.reload();
  }

  /** Changes when a directory appears, goes, is put in another's place, or something is put into it. */
  async #signsOf(): Promise<string> {
    const signs = this.#options.directories.map(({ path }) =>
      stat(path, { bigint: true }).then(
        ({ dev, ino, mtimeNs }) => `${dev}:${ino}:${mtimeNs}`,
        () => "none",
      ),
    );
    return (await Promise.all(signs)).join();
  }
}

async function realPaths(directories: readonly SkillDirectory[]): Promise<string[]> {
  const found = await Promise.all(directories.map(({ path }) => realpath(path).catch(() => null)));
  return found.filter((path) => path !== null);
}

function foldersOf(looks: readonly Look[]): WatchedFolder[] {
  return looks.flatMap(({ real, identity, found, others }) => [
    ...(real === null ? [] : [{ path: real, identity, file: null }]),
    ...[...found.flatMap(({ folder }) => folder ?? []), ...others].map((each) => ({
      ...each,
      file: SKILL_FILE,
    })),
  ]);
}
