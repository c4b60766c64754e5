import { common, createLowlight } from "lowlight";
import type { ReactNode } from "react";

const lowlight = createLowlight(common);
type Node = ReturnType<typeof lowlight.highlight>["children"][number];

/** The text in spans of class hljs-…; a language that is not known stays text. */
export function highlight(text: string, language: string): ReactNode {
  const name = language.toLowerCase();
  if (!lowlight.registered(name)) return text;
  return lowlight.highlight(name, text).children.map(toElement);
}

function toElement(node: Node, at: number): ReactNode {
  if (node.type === "text") return node.value;
  if (node.type !== "element") return null;
  const { className } = node.properties;
  return (
    <span key={at} className={Array.isArray(className) ? className.join(" ") : undefined}>
      {node.children.map(toElement)}
    </span>
  );
}
