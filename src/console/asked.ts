import { useCallback, useEffect, useState } from "react";
import type { MethodName, ParamsFor, ResultFor } from "../client/methods.ts";
import { told } from "./door.ts";
import { useHome } from "./home-context.ts";

export interface Asked<T> {
  /** The last good answer. */
  readonly data: T | null;
  readonly error: string | null;
  readonly again: () => void;
}

/** What a method answers: asked at once, after every reconnect, when asked to, and every so often where that is given. */
export function useAsked<M extends MethodName>(
  method: M,
  params: ParamsFor<M>,
  every_ms?: number,
): Asked<ResultFor<M>> {
  const { client } = useHome();
  const [answer, setAnswer] = useState<{ data: ResultFor<M> | null; error: string | null }>({
    data: null,
    error: null,
  });
  const [round, setRound] = useState(0);
  const text = JSON.stringify(params);
  useEffect(() => {
    let wanted = true;
    const ask = (): void => {
      client.request(method, JSON.parse(text) as ParamsFor<M>).then(
        (data) => wanted && setAnswer({ data, error: null }),
        (error: unknown) => wanted && setAnswer(({ data }) => ({ data, error: told(error) })),
      );
    };
    ask();
    const stop = client.on("state", ({ state }) => void (state === "connected" && ask()));
    const timer = every_ms === undefined ? undefined : setInterval(ask, every_ms);
    return () => {
      wanted = false;
      stop();
      clearInterval(timer);
    };
  }, [client, method, text, round, every_ms]);
  const again = useCallback(() => setRound((before) => before + 1), []);
  return { ...answer, again };
}
