import { memo, useEffect, useState } from "react";
import type { ReactNode } from "react";
import { CopyButton } from "../copy-button.tsx";

type Highlight = (text: string, language: string) => ReactNode;

/** While it is still written a long one is coloured at its end only: once. */
const OPEN_CHARS = 6_000;
const MOST_CHARS = 100_000;

let loaded: Highlight | null = null;
let loading: Promise<Highlight> | null = null;

/** Colours come later than words, and only where there is code. */
function useHighlight(): Highlight | null {
  const [highlight, setHighlight] = useState<Highlight | null>(() => loaded);
  useEffect(() => {
    if (loaded !== null) return undefined;
    let wanted = true;
    loading ??= import("./highlight.tsx").then((module) => (loaded = module.highlight));
    loading.then(
      (found) => wanted && setHighlight(() => found),
      () => undefined,
    );
    return () => void (wanted = false);
  }, []);
  return highlight;
}

interface CodeProps {
  readonly text: string;
  readonly language: string;
  readonly open: boolean;
}

export const Code = memo(function Code({ text, language: info, open }: CodeProps) {
  const highlight = useHighlight();
  const [language = ""] = info.split(/\s/, 1);
  const coloured =
    highlight !== null && language !== "" && text.length <= (open ? OPEN_CHARS : MOST_CHARS)
      ? highlight(text, language)
      : text;
  return (
    <figure className="code">
      <figcaption>
        <span>{language === "" ? "text" : language.slice(0, 24)}</span>
        <CopyButton text={text} label="Copy code" />
      </figcaption>
      <pre tabIndex={0}>
        <code>{coloured}</code>
      </pre>
    </figure>
  );
});
