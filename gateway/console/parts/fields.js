/** Names with values, JSON, and a stream's history, as all details show them. */

import { html } from "../vendor/htm-preact.js";
import { json } from "../format.js";
import { sentence, tone } from "../sentences.js";
import { Moment, To } from "./common.js";

/** Pairs of name and value; what has no value is left out. */
export function Fields({ pairs }) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<dl class="fields">${shown.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** A value as JSON, where there is something in it. */
export function Document({ title, value, open = false }) {
  if (value === null || value === undefined || (typeof value === "object" && !Object.keys(value).length)) return null;
  return html`
    <details class="document" open=${open}>
      <summary>${title}</summary>
      <pre tabindex="0">${json(value)}</pre>
    </details>
  `;
}

export function Timeline({ records }) {
  if (!records) return null;
  return html`
    <h3>History</h3>
    <ol class="timeline" id="history">
      ${records.map(
        (record, index) => html`
          <li key=${record.position} class=${tone(record.kind)}>
            <${Moment} at=${record.at} />
            <span class="after">${index ? `+${(record.at - records[0].at).toFixed(2)} s` : ""}</span>
            <span class="kind">${record.kind.split(".")[1]}</span>
            <span class="sentence"><bdi>${sentence(record)}</bdi></span>
            <${To} kind="events" id=${record.position} text=${`@${record.position}`} />
          </li>
        `,
      )}
    </ol>
  `;
}
