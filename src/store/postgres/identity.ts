import { GatewayError } from "../../protocol/errors.ts";
import type { Queries } from "./queries.ts";

/** Which history of which server this is: another timeline may lack what was acknowledged on this one. */
export interface Identity {
  readonly system: string;
  readonly timeline: string;
}

interface Facts extends Identity {
  readonly pid: number;
  readonly version: number;
  readonly encoding: string;
  readonly isStandby: boolean;
}

const OLDEST = 13;

/** @throws GatewayError UNAVAILABLE where the server is not one that can be used */
export async function identify(q: Queries): Promise<Identity> {
  const { system, timeline } = await factsOf(q);
  return { system, timeline };
}

/** The id of the connection's process. Throws where its server is not the one that it was. */
export async function assertSame(q: Queries, { system, timeline }: Identity): Promise<number> {
  const facts = await factsOf(q);
  if (facts.system !== system || facts.timeline !== timeline)
    throw new Error("the database went over to another server: start again, so that clients are told");
  return facts.pid;
}

async function factsOf(q: Queries): Promise<Facts> {
  const first = await q.one<{ version: number; encoding: string; isStandby: boolean; commit: string }>(
    `SELECT current_setting('server_version_num')::int / 10000 AS version, current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() AS "isStandby", current_setting('synchronous_commit') AS commit`,
  );
  if (first === null) throw new Error("the database answered nothing");
  const { version, encoding, isStandby, commit } = first;
  if (version < OLDEST) throw refuse(`it is PostgreSQL ${version}: ${OLDEST} or later is needed`);
  if (encoding !== "UTF8")
    throw refuse(`its encoding is ${encoding}: create it with createdb --encoding=UTF8 --template=template0`);
  if (isStandby) throw refuse("it is a standby that takes no writes: name the primary in storage.url");
  // A stronger setting is the administrator's to make.
  if (commit === "off" || commit === "local") await q.run("SET synchronous_commit = on");
  const more = await q.one<{ pid: number; system: string; wal: string }>(
    `SELECT pg_backend_pid() AS pid, (SELECT system_identifier::text FROM pg_control_system()) AS system,
       pg_walfile_name(pg_current_wal_insert_lsn()) AS wal`,
  );
  if (more === null) throw new Error("the database answered nothing");
  return { ...first, pid: more.pid, system: more.system, timeline: more.wal.slice(0, 8) };
}

function refuse(why: string): GatewayError {
  return new GatewayError("UNAVAILABLE", `the database of storage.url cannot be used: ${why}`, {
    details: { kind: "database" },
  });
}
