/** The key of this browser: WebCrypto's, never to be taken out, kept in the browser's own database. */
type Pair = Pick<CryptoKeyPair, "privateKey" | "publicKey">;

const DATABASE = "agentbus";
const KEYS = "keys";
const NAME = "device";

/** Keys are there only where the page came over HTTPS or from this machine, and the browser knows Ed25519. */
export function canKeepKey(): boolean {
  return globalThis.isSecureContext && "subtle" in crypto && "indexedDB" in globalThis;
}

export async function findKey(): Promise<Pair | null> {
  return (await inStore<Pair | undefined>("readonly", (store) => store.get(NAME))) ?? null;
}

/** The key that is there, else a new one. @throws DOMException where the browser cannot make or keep one */
export async function takeKey(): Promise<Pair> {
  const known = await findKey();
  if (known !== null) return known;
  const made = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  await inStore("readwrite", (store) => store.put(made, NAME));
  return made;
}

export async function forgetKey(): Promise<void> {
  await inStore("readwrite", (store) => store.delete(NAME));
}

function inStore<T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(DATABASE, 1);
    opening.addEventListener("upgradeneeded", () => opening.result.createObjectStore(KEYS));
    opening.addEventListener("error", () => reject(asError(opening.error)));
    opening.addEventListener("success", () => {
      const database = opening.result;
      const asked = ask(database.transaction(KEYS, mode).objectStore(KEYS));
      asked.addEventListener("success", () => {
        database.close();
        resolve(asked.result);
      });
      asked.addEventListener("error", () => {
        database.close();
        reject(asError(asked.error));
      });
    });
  });
}

function asError(error: DOMException | null): Error {
  return error ?? new Error("the browser's database does not answer");
}
