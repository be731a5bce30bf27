/** Light, dark, or as the system has it; remembered by this browser. */

import { html } from "../vendor/htm-preact.js";

const THEMES = ["auto", "light", "dark"];
const KEY = "gavel-theme";

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a browser that keeps nothing
  }
}

let theme = THEMES.includes(stored()) ? stored() : "auto";
document.documentElement.dataset.theme = theme;

function choose(event) {
  theme = event.target.value;
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    return; // it holds until the page is left
  }
}

export function ThemeChoice() {
  return html`
    <select aria-label="Theme" value=${theme} onChange=${choose}>
      ${THEMES.map((name) => html`<option value=${name} selected=${name === theme}>${name}</option>`)}
    </select>
  `;
}
