import type { Provider } from "../core/ports.ts";

/** The providers there are now: those of the configuration, and others that come and go while it runs. */
export interface ProviderList {
  all(): readonly Provider[];
  /** Those that came by `add`. */
  added(): readonly Provider[];
  /** The answer takes it out again (idempotent); calls it has begun go on. @throws Error for a name that is taken or is none. */
  add(provider: Provider): () => void;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** @param configured those there are now; one of a name that was added does not come */
export function createProviderList(configured: () => readonly Provider[]): ProviderList {
  let added: readonly Provider[] = [];
  const all = (): readonly Provider[] => (added.length === 0 ? configured() : [...configured(), ...added]);
  return {
    all,
    added: () => added,
    add(provider) {
      const { name } = provider;
      if (!NAME.test(name)) {
        throw new Error(`"${name}" is no name for a provider: use letters, digits, _ and -`);
      }
      if (all().some((each) => each.name === name)) {
        throw new Error(`there is a provider "${name}" already: choose another name`);
      }
      added = [...added, provider];
      return () => (added = added.filter((each) => each !== provider));
    },
  };
}
