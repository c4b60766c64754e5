import type { KeyboardEvent, ReactNode } from "react";
import { useEffect, useId, useRef, useState } from "react";
import { Icon } from "./icon.tsx";

export interface MenuItem {
  readonly label: string;
  readonly onChoose?: () => void;
  readonly href?: string;
  /** One of several of which one is chosen. */
  readonly checked?: boolean;
  readonly danger?: boolean;
}

interface MenuProps {
  readonly label: string;
  readonly items: readonly MenuItem[];
  readonly className?: string;
  /** Opens upwards. */
  readonly above?: boolean;
  /** What the button shows; three dots without it. */
  readonly children?: ReactNode;
}

/** A button and its menu, as a screen reader and a keyboard expect it: arrows, Home, End, Escape, first letters. */
export function Menu({ label, items, className, above = false, children }: MenuProps) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const place = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const entries = (): HTMLElement[] => [
    ...(place.current?.querySelectorAll<HTMLElement>("[role^=menuitem]") ?? []),
  ];
  useEffect(() => {
    if (!open) return undefined;
    entries()[0]?.focus();
    const outside = ({ target }: Event): void => {
      if (!(target instanceof Node) || place.current?.contains(target) !== true) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);

  function close(): void {
    setOpen(false);
    button.current?.focus();
  }
  function onKey(event: KeyboardEvent): void {
    const all = entries();
    const to = targetOf(event.key, all, all.indexOf(document.activeElement as HTMLElement));
    if (event.key === "Escape") close();
    else if (event.key === "Tab") setOpen(false);
    else if (to !== undefined) to.focus();
    else return;
    if (event.key !== "Tab") event.preventDefault();
    event.stopPropagation();
  }
  return (
    <div className={above ? "menu above" : "menu"} ref={place}>
      <button
        ref={button}
        type="button"
        className={className ?? "quiet icon-only"}
        aria-label={children === undefined ? label : undefined}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        onClick={() => setOpen(!open)}
      >
        {children ?? <Icon name="more" />}
      </button>
      {open && (
        <div id={id} role="menu" tabIndex={-1} aria-label={label} className="menu-items" onKeyDown={onKey}>
          {items.map((item) => (
            <Entry key={item.label} item={item} onDone={close} />
          ))}
        </div>
      )}
    </div>
  );
}

function Entry({ item, onDone }: { readonly item: MenuItem; readonly onDone: () => void }) {
  const { label, href, checked, danger, onChoose } = item;
  if (href !== undefined) {
    return (
      <a role="menuitem" tabIndex={-1} href={href} target="_blank" rel="noopener noreferrer">
        {label}
      </a>
    );
  }
  return (
    <button
      type="button"
      tabIndex={-1}
      role={checked === undefined ? "menuitem" : "menuitemradio"}
      aria-checked={checked}
      className={danger === true ? "danger" : undefined}
      onClick={() => {
        onDone();
        onChoose?.();
      }}
    >
      {label}
      {checked === true && <Icon name="check" />}
    </button>
  );
}

function targetOf(key: string, all: readonly HTMLElement[], at: number): HTMLElement | undefined {
  if (key === "ArrowDown") return all[(at + 1) % all.length];
  if (key === "ArrowUp") return all[(at - 1 + all.length) % all.length];
  if (key === "Home") return all[0];
  if (key === "End") return all.at(-1);
  if (key.length !== 1 || key === " ") return undefined;
  const rest = [...all.slice(at + 1), ...all.slice(0, at + 1)];
  return rest.find(({ textContent }) => textContent?.toLowerCase().startsWith(key.toLowerCase()));
}
