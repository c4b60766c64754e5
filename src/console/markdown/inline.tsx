import type { MarkedToken, Token, Tokens } from "marked";
import type { ReactNode } from "react";
import { addressOf } from "./address.ts";
import { withoutEntities } from "./entities.ts";

const MOST_DEPTH = 24;

interface InlineProps {
  readonly tokens: readonly Token[];
  readonly depth: number;
}

export function Inline({ tokens, depth }: InlineProps): ReactNode {
  return tokens.map((token, at) => <Span key={at} token={token as MarkedToken} depth={depth + 1} />);
}

function Span({ token, depth }: { readonly token: MarkedToken; readonly depth: number }): ReactNode {
  if (depth > MOST_DEPTH) return token.raw;
  switch (token.type) {
    case "text":
      return token.tokens === undefined ? (
        withoutEntities(token.text)
      ) : (
        <Inline tokens={token.tokens} depth={depth} />
      );
    case "escape":
      return token.text;
    case "strong":
      return (
        <strong>
          <Inline tokens={token.tokens} depth={depth} />
        </strong>
      );
    case "em":
      return (
        <em>
          <Inline tokens={token.tokens} depth={depth} />
        </em>
      );
    case "del":
      return (
        <del>
          <Inline tokens={token.tokens} depth={depth} />
        </del>
      );
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "link":
      return <Link token={token} depth={depth} />;
    case "image":
      return <Picture token={token} />;
    case "html":
      // Models break lines in tables this way.
      return /^<br ?\/?>$/i.test(token.raw) ? <br /> : token.raw;
    default:
      return token.raw;
  }
}

function Link({ token, depth }: { readonly token: Tokens.Link; readonly depth: number }): ReactNode {
  const address = addressOf(token.href);
  const inside = <Inline tokens={token.tokens} depth={depth} />;
  if (address === null) return <span className="no-link">{inside}</span>;
  return (
    <a href={address} target="_blank" rel="noopener noreferrer" title={token.title ?? undefined}>
      {inside}
    </a>
  );
}

/** Not loaded: that would tell whoever the model names that somebody reads this, and what. */
function Picture({ token }: { readonly token: Tokens.Image }): ReactNode {
  const address = addressOf(token.href);
  const name = token.text === "" ? "picture" : token.text;
  if (address === null) return <span className="no-link">{name}</span>;
  return (
    <a className="picture" href={address} target="_blank" rel="noopener noreferrer">
      {name}
    </a>
  );
}
