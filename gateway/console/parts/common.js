/** Small pieces that all parts of the page are made of. */

import { html } from "../vendor/htm-preact.js";
import { age, iso, short, time, words } from "../format.js";

/** A box with a heading; `trouble` says why what it shows may be old. */
export function Panel({ id, title, count, tools, trouble, children }) {
  return html`
    <section class="panel" id=${id} aria-labelledby=${`${id}-title`}>
      <header>
        <h2 id=${`${id}-title`}>${title}${count !== undefined && html` <span class="count">${count}</span>`}</h2>
        ${tools}
      </header>
      ${trouble && html`<p class="trouble" role="alert">${trouble}</p>`}
      ${children}
    </section>
  `;
}

/** A table that scrolls within its panel; each column is [heading, class]. */
export function Table({ label, columns, children }) {
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label=${label}>
      <table>
        <thead>
          <tr>${columns.map(([heading, kind]) => html`<th scope="col" class=${kind}>${heading}</th>`)}</tr>
        </thead>
        <tbody>${children}</tbody>
      </table>
    </div>
  `;
}

export function Chip({ label, count, on, tone, press }) {
  return html`
    <button type="button" class=${`chip ${tone ?? ""}`} aria-pressed=${on ? "true" : "false"} onClick=${press}>
      ${label}${count !== undefined && html` <b>${count}</b>`}
    </button>
  `;
}

const TONE_BY_STAGE = {
  active: "good",
  completed: "good",
  draining: "warn",
  suspect: "warn",
  cancelled: "warn",
  expired: "warn",
  lost: "bad",
  failed: "bad",
  dead_lettered: "bad",
  bidding: "bid",
  awarded: "work",
  running: "work",
};

export function toneOf(stage) {
  return TONE_BY_STAGE[stage] ?? "plain";
}

export function Stage({ stage }) {
  return html`<span class=${`stage ${toneOf(stage)}`}>${words(stage)}</span>`;
}

/** A moment, in the reader's zone; the title has it as the log does. */
export function Moment({ at }) {
  return at ? html`<time datetime=${iso(at)} title=${iso(at)}>${time(at)}</time>` : "–";
}

export function Age({ at }) {
  return at ? html`<time datetime=${iso(at)} title=${iso(at)}>${age(at)}</time>` : "–";
}

/** A link to something's detail. Names come from outside: isolated, so that none can turn the line around. */
export function To({ kind, id, text }) {
  return html`<a class=${text === undefined ? "to id" : "to"} href=${`#/${kind}/${encodeURIComponent(id)}`} title=${id}><bdi>${text ?? short(id)}</bdi></a>`;
}

export function Empty({ children }) {
  return html`<div class="empty">${children}</div>`;
}

/** A command to copy. */
export function Command({ text }) {
  return html`
    <div class="command">
      <pre tabindex="0">${text}</pre>
      <${Copy} text=${text} />
    </div>
  `;
}

export function Copy({ text, label = "Copy" }) {
  const copy = (event) => {
    const button = event.currentTarget;
    void navigator.clipboard?.writeText(text).then(() => {
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = label), 1500);
    });
  };
  return html`<button type="button" class="quiet" onClick=${copy}>${label}</button>`;
}
