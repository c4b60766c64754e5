import type { MarkedToken, Token, Tokens } from "marked";
import type { ReactNode } from "react";
import { Code } from "./code.tsx";
import { Inline } from "./inline.tsx";

/** Deeper than people write: what is inside is shown as it was written. */
const MOST_DEPTH = 12;

interface BlockProps {
  readonly token: Token;
  readonly depth: number;
  /** More of it may come. */
  readonly open?: boolean;
}

export function Block({ token: given, depth, open = false }: BlockProps): ReactNode {
  // Everything marked makes; a type it has not is shown as text.
  const token = given as MarkedToken;
  if (depth > MOST_DEPTH) return <p className="as-written">{token.raw}</p>;
  switch (token.type) {
    case "space":
    case "def":
    case "checkbox":
      return null;
    case "heading":
      return <Heading token={token} depth={depth} />;
    case "paragraph":
      return (
        <p>
          <Inline tokens={token.tokens} depth={depth} />
        </p>
      );
    case "code":
      return <Code text={token.text} language={token.lang ?? ""} open={open} />;
    case "blockquote":
      return (
        <blockquote>
          <Blocks tokens={token.tokens} depth={depth + 1} />
        </blockquote>
      );
    case "list":
      return <List token={token} depth={depth} />;
    case "table":
      return <Table token={token} depth={depth} />;
    case "hr":
      return <hr />;
    case "html":
      return <p className="as-written">{token.raw.trimEnd()}</p>;
    case "text":
      return token.tokens === undefined ? (
        <Inline tokens={[token]} depth={depth} />
      ) : (
        <Inline tokens={token.tokens} depth={depth} />
      );
    default:
      return <p className="as-written">{token.raw}</p>;
  }
}

function Blocks({ tokens, depth }: { readonly tokens: readonly Token[]; readonly depth: number }): ReactNode {
  return tokens.map((token, at) => <Block key={at} token={token} depth={depth} />);
}

/** Below the page's own two levels. */
function Heading({ token, depth }: { readonly token: Tokens.Heading; readonly depth: number }): ReactNode {
  const Level = (["h3", "h4", "h5", "h6"] as const)[Math.min(token.depth, 4) - 1] ?? "h6";
  return (
    <Level className={`level-${token.depth}`}>
      <Inline tokens={token.tokens} depth={depth} />
    </Level>
  );
}

function List({ token, depth }: { readonly token: Tokens.List; readonly depth: number }): ReactNode {
  const items = token.items.map((item, at) => (
    <li key={at} className={item.task ? "task" : undefined}>
      {item.task && (
        <input type="checkbox" checked={item.checked === true} disabled aria-label={taskOf(item)} readOnly />
      )}
      <Blocks tokens={item.tokens} depth={depth + 1} />
    </li>
  ));
  if (!token.ordered) return <ul>{items}</ul>;
  return <ol start={typeof token.start === "number" ? token.start : undefined}>{items}</ol>;
}

function taskOf({ checked }: Tokens.ListItem): string {
  return checked === true ? "done" : "open";
}

function Table({ token, depth }: { readonly token: Tokens.Table; readonly depth: number }): ReactNode {
  const side = (cell: Tokens.TableCell): string | undefined =>
    cell.align === null ? undefined : `to-${cell.align}`;
  return (
    <div className="table" role="region" aria-label="Table" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {token.header.map((cell, at) => (
              <th key={at} className={side(cell)}>
                <Inline tokens={cell.tokens} depth={depth} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {token.rows.map((row, index) => (
            <tr key={index}>
              {row.map((cell, at) => (
                <td key={at} className={side(cell)}>
                  <Inline tokens={cell.tokens} depth={depth} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
