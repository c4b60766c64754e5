/** What a node says of itself, for `agentbus doctor`. */
export interface NodeFacts {
  readonly version: string;
  /** By the section of the configuration, what stands for its values. */
  readonly sections: Readonly<Record<string, string>>;
}

interface LivingNode {
  readonly name: string;
  /** JSON text. */
  readonly facts: string;
}

/** How nodes that live differ in what they should have alike; null: they do not. */
export function differences(nodes: readonly LivingNode[]): string | null {
  const all = nodes.map(({ name, facts }) => ({ name, ...(JSON.parse(facts) as Partial<NodeFacts>) }));
  // One of an older version says nothing of itself.
  const telling = all.filter(({ version }) => version !== undefined);
  const said: string[] = [];
  const versions = Map.groupBy(all, ({ version = "older" }) => version);
  if (versions.size > 1) {
    const each = [...versions].map(
      ([version, some]) => `${some.map(({ name }) => name).join(", ")}: ${version}`,
    );
    said.push(`versions (${each.join("; ")})`);
  }
  const sections = new Set(telling.flatMap(({ sections: own = {} }) => Object.keys(own)));
  for (const section of [...sections].toSorted()) {
    const kinds = Map.groupBy(telling, ({ sections: own = {} }) => own[section] ?? "");
    if (kinds.size > 1) said.push(`[${section}]`);
  }
  return said.length === 0 ? null : said.join(", ");
}
