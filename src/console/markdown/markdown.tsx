import { memo, useState } from "react";
import type { Token } from "marked";
import { Blocks, healed } from "./blocks.ts";
import { Block } from "./block.tsx";

/**
 * Text of a model as elements. No HTML is ever made of it: what looks like HTML is shown as it was written, pictures
 * become links, and links lead elsewhere or nowhere.
 */
export const Markdown = memo(function Markdown({ text, complete }: { text: string; complete: boolean }) {
  const [blocks] = useState(() => new Blocks());
  const tokens = blocks.of(text, complete);
  const last = tokens.length - 1;
  return (
    <div className="markdown">
      {tokens.map((token, at) => (
        <Piece key={at} token={token} open={!complete && at === last} />
      ))}
    </div>
  );
});

/** One block, looked at again only when it says something else. */
const Piece = memo(function Piece({ token, open }: { token: Token; open: boolean }) {
  const tokens = open ? healed(token) : [token];
  return tokens.map((each, at) => <Block key={at} token={each} depth={0} open={open} />);
});
