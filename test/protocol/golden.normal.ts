const TIME = 1_700_000_000_000;

const PAIRING_CODE = /\b[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}\b/g;

/** Makes text the same at every recording: ids, epochs, times and secrets become the n-th of their kind. */
export function createNormaliser(token: string): (text: string) => string {
  const ids = new Map<string, string>();
  const epochs = new Map<string, string>();
  const counts = new Map<string, number>();

  function nth(kind: string): number {
    const next = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, next);
    return next;
  }
  function idFor(id: string): string {
    const known = ids.get(id);
    if (known !== undefined) return known;
    const [prefix = ""] = id.split("_", 1);
    const made = `${prefix}_${nth(prefix)}`;
    ids.set(id, made);
    return made;
  }
  function learnEpochs(text: string): void {
    for (const [, epoch = ""] of text.matchAll(/(?:"epoch":"|\bid: )([a-z0-9]{8})(?="|\.\d)/g)) {
      if (epochs.has(epoch)) continue;
      epochs.set(epoch, `epoch${String(nth("epoch")).padStart(3, "0")}`);
    }
  }

  return (text) => {
    learnEpochs(text);
    let plain = text.replaceAll(token, "agb_TOKEN");
    for (const [epoch, made] of epochs) plain = plain.replaceAll(epoch, made);
    return plain
      .replaceAll(/\bag[bst]_[A-Za-z0-9_-]{43}/g, (secret) => `${secret.slice(0, 4)}TOKEN`)
      .replaceAll(/\b(?:run|msg|ses|con|tok|aus|req)_[0-9a-hjkmnp-tv-z]{26}\b/g, idFor)
      .replaceAll(/"(ts|timestamp|last_activity|[a-z]+_at)":\d{13}/g, `"$1":${TIME}`)
      .replaceAll(/"nonce":"([^"]+)"/g, (_said, nonce: string) => `"nonce":"${idFor(`nonce_${nonce}`)}"`)
      .replaceAll(/"signature":"[^"]+"/g, '"signature":"SIGNATURE"')
      .replaceAll(/"server_id":"[^"]+"/g, '"server_id":"server-1"')
      .replaceAll(PAIRING_CODE, (code) => idFor(`code_${code}`).toUpperCase())
      .replaceAll(/"uptime":[\d.]+/g, '"uptime":1.5')
      .replaceAll(/"memory_usage":\d+/g, '"memory_usage":100000000')
      .replaceAll(/"hash":"[^"]+"/g, '"hash":"0123456789abcdef"')
      .replaceAll(/"file":"[^"]+\/agentbus.toml"/g, '"file":"/etc/agentbus.toml"')
      .replaceAll(/"node_id":"[^"]+"/g, '"node_id":"node-1"')
      .replaceAll(/"name":"agentbus","version":"[^"]+"/g, '"name":"agentbus","version":"0.0.0"');
  };
}
