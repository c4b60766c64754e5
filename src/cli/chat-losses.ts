import type { Client } from "../client/client.ts";
import { visible } from "./table.ts";

/** Tells when the connection is lost and when it is back. The answer ends that. */
export function tellLosses(client: Client, tell: (line: string) => void): () => void {
  let lost = false;
  return client.on("state", ({ state, error }) => {
    if (state === "reconnecting" && !lost)
      tell(`connection lost (${visible(error?.message ?? "")}); trying again`);
    if (state === "connected" && lost) tell("connected again");
    lost = state === "reconnecting";
  });
}
