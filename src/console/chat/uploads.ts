import { useEffect, useRef, useState } from "react";
import { told } from "../door.ts";
import type { Attachment, Files } from "../files.ts";

/** A file on its way into the next message. */
export interface Upload {
  readonly key: number;
  readonly file: File;
  readonly name: string;
  readonly bytes: number;
  readonly state: "uploading" | "ready" | "failed";
  readonly attachment?: Attachment;
  readonly problem?: string;
}

export interface Uploads {
  readonly list: readonly Upload[];
  add(files: Iterable<File>): void;
  /** Once more, where it failed. */
  retry(key: number): void;
  remove(key: number): void;
  clear(): void;
}

/** Uploads begin when a file is chosen, so that sending waits for nothing. */
export function useUploads(files: Files): Uploads {
  const [list, setList] = useState<readonly Upload[]>([]);
  const last = useRef(0);
  const running = useRef(new Map<number, AbortController>());
  useEffect(() => {
    const { current } = running;
    return () => current.forEach((controller) => controller.abort());
  }, []);

  function start(key: number, file: File): void {
    const controller = new AbortController();
    running.current.set(key, controller);
    const put = (change: Partial<Upload>): void =>
      setList((before) => before.map((each) => (each.key === key ? { ...each, ...change } : each)));
    put({ state: "uploading" });
    files
      .upload(file, controller.signal)
      .then(
        (attachment) => put({ state: "ready", attachment }),
        (error: unknown) => put({ state: "failed", problem: told(error) }),
      )
      .finally(() => running.current.delete(key));
  }
  function add(chosen: Iterable<File>): void {
    for (const file of chosen) {
      const key = ++last.current;
      const { name, size: bytes } = file;
      setList((before) => [...before, { key, file, name, bytes, state: "uploading" }]);
      start(key, file);
    }
  }
  function retry(key: number): void {
    const failed = list.find((each) => each.key === key && each.state === "failed");
    if (failed !== undefined) start(key, failed.file);
  }
  function remove(key: number): void {
    running.current.get(key)?.abort();
    setList((before) => before.filter((each) => each.key !== key));
  }
  return { list, add, retry, remove, clear: () => setList([]) };
}

const UNITS = ["B", "KB", "MB", "GB"];

export function sizeOf(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1_000 && unit < UNITS.length - 1) {
    value /= 1_000;
    unit++;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}
