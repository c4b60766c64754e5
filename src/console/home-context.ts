import { createContext, use } from "react";
import type { Client } from "../client/client.ts";
import type { Files } from "./files.ts";
import type { Sessions } from "./session-list.ts";

/** Who is in, and by which client. */
export interface HomeParts {
  readonly client: Client;
  readonly sessions: Sessions;
  readonly files: Files;
  readonly may: (scope: string) => boolean;
  readonly user: string;
  /** How they came in: token, session, device … */
  readonly method: string;
}

export const HomeContext = createContext<HomeParts | null>(null);

export function useHome(): HomeParts {
  const home = use(HomeContext);
  if (home === null) throw new Error("used outside of Home");
  return home;
}
