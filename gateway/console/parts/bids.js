/** Bids as they come, and how each book ends. */

import { html } from "../vendor/htm-preact.js";
import { sentence, tone } from "../sentences.js";
import { Empty, Moment, Panel, To } from "./common.js";

const SHOWN_MAX = 100;

export function Bids({ state }) {
  const records = state.bids.slice(-SHOWN_MAX).reverse();
  return html`
    <${Panel} id="bids" title="Bids">
      ${records.length
        ? html`<ol class="ticker scroll" tabindex="0" aria-label="Bids, newest first">${records.map((record) => html`<${Line} key=${record.position} record=${record} />`)}</ol>`
        : html`<${Empty}><p>When a task is submitted, the agents with its skills are called, and their bids appear here.</p><//>`}
    <//>
  `;
}

function Line({ record }) {
  return html`
    <li class=${tone(record.kind)}>
      <${Moment} at=${record.at} />
      <${To} kind="tasks" id=${record.data.task_id} />
      <span class="sentence" title=${sentence(record)}><bdi>${sentence(record)}</bdi></span>
    </li>
  `;
}
