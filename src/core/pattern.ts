/** Whether a name is what a pattern stands for: in it `*` stands for anything, also for nothing. */
export function matcher(pattern: string): (name: string) => boolean {
  const parts = pattern.split("*");
  if (parts.length === 1) return (name) => name === pattern;
  return (name) => {
    const [first = "", ...rest] = parts;
    const last = rest.pop() ?? "";
    if (!name.startsWith(first) || name.length < first.length + last.length || !name.endsWith(last))
      return false;
    const middle = name.slice(first.length, name.length - last.length);
    let at = 0;
    for (const part of rest) {
      const found = middle.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return true;
  };
}

/** How much of a name a pattern fixes: of two that fit, the one with more is meant. */
export function fixedChars(pattern: string): number {
  return pattern.replaceAll("*", "").length;
}
