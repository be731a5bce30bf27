/** Queues: how much waits in each, and whether it is held back; whoever may manage tasks pauses one and lets it go on. */

import { html } from "../vendor/htm-preact.js";
import { number, principal } from "../format.js";
import { act, may } from "../store.js";
import { Age, Panel, Table } from "./common.js";

const COLUMNS = [["Queue"], ["Waiting", "number"], ["In bidding", "number"], ["Held", "number"], ["Blocked", "number"], ["Stands"], [""]];

export function Queues({ state }) {
  const found = state.queues;
  if (!found || (found.queues.length === 0 && !state.troubles.queues)) return null;
  return html`
    <${Panel} id="queues" title="Queues" count=${number(found.queues.length + found.left_out)} trouble=${state.troubles.queues}>
      <${Table} label="Queues" columns=${COLUMNS}>
        ${found.queues.map((one) => html`<${Row} key=${one.name} one=${one} state=${state} />`)}
      <//>
    <//>
  `;
}

function Row({ one, state }) {
  return html`
    <tr>
      <td><bdi>${one.name}</bdi></td>
      <td class="number">${number(one.waiting)}</td>
      <td class="number">${number(one.bidding)}</td>
      <td class="number">${number(one.held)}</td>
      <td class="number">${number(one.blocked)}</td>
      <td class="sentence">${one.paused ? html`<${Paused} one=${one} />` : "goes on"}</td>
      <td>${may("tasks:manage") && html`<${Change} one=${one} busy=${state.acting.has(pathOf(one))} />`}</td>
    </tr>
  `;
}

function Paused({ one }) {
  return html`
    <span class="warn">paused</span> ${" "}<${Age} at=${one.since} /> ago by <bdi>${principal(one.paused_by)}</bdi>${one.reason &&
    html`: <bdi>${one.reason}</bdi>`}
  `;
}

const pathOf = (one) => `/v1/queues/${encodeURIComponent(one.name)}`;

function Change({ one, busy }) {
  const change = (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.currentTarget));
    void act("queues", pathOf(one), one.paused ? "/resume" : "/pause", { method: "POST", body: one.paused ? undefined : given });
  };
  return html`
    <form class="line" aria-label=${`Queue ${one.name}`} onSubmit=${change}>
      ${!one.paused && html`<input name="reason" placeholder="why" aria-label="Why" maxlength="200" />`}
      <button type="submit" disabled=${busy}>${one.paused ? "Resume" : "Pause"}</button>
    </form>
  `;
}
