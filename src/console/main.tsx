import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.tsx";
import { open } from "./door.ts";
import { applyTheme } from "./theme.ts";
import "uplot/dist/uPlot.min.css";
import "./style/base.css";
import "./style/controls.css";
import "./style/layout.css";
import "./style/chat.css";
import "./style/files.css";
import "./style/markdown.css";
import "./style/gateway.css";

applyTheme();
const place = document.querySelector("#console");
if (place === null) throw new Error("the page has no place for the console");
createRoot(place).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
void open();
