import type { Provider } from "../core/ports.ts";

/** The providers there are now: those of the configuration, and others that come and go while it runs. */
export interface ProviderList {
  all(): readonly Provider[];
  /** The answer takes it out again (idempotent); calls it has begun go on. @throws Error for a name that is taken or is none. */
  add(provider: Provider): () => void;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

export function createProviderList(configured: readonly Provider[]): ProviderList {
  let providers = configured;
  return {
    all: () => providers,
    add(provider) {
      const { name } = provider;
      if (!NAME.test(name)) {
        throw new Error(`"${name}" is no name for a provider: use letters, digits, _ and -`);
      }
      if (providers.some((each) => each.name === name)) {
        throw new Error(`there is a provider "${name}" already: choose another name`);
      }
      providers = [...providers, provider];
      return () => (providers = providers.filter((each) => each !== provider));
    },
  };
}
