import type { Theme } from "./kept.ts";
import { keepTheme, keptTheme } from "./kept.ts";
import { createStore } from "./store.ts";

export const theme = createStore<Theme>(keptTheme());

export function applyTheme(): void {
  const chosen = theme.get();
  if (chosen === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
}

export function choose(next: Theme): void {
  keepTheme(next);
  theme.set(next);
  applyTheme();
}
