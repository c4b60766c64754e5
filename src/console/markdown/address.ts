const SCHEMES = new Set(["http:", "https:", "mailto:"]);

/** Where a link of the model's may lead: elsewhere, by a name that says so. Null: nowhere, it is shown as text. */
export function addressOf(href: string): string | null {
  let url: URL;
  try {
    // Only whole addresses: one without a scheme would be a path of this gateway.
    url = new URL(href);
  } catch {
    return null;
  }
  if (!SCHEMES.has(url.protocol) || url.username !== "" || url.password !== "") return null;
  return url.href;
}
