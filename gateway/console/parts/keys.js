/** Concurrency keys: how many of their tasks have a place, which, and how many wait; whoever may manage tasks sets a limit, or drops it. */

import { html } from "../vendor/htm-preact.js";
import { number, principal, words } from "../format.js";
import { act, may } from "../store.js";
import { Age, Panel, Table, To } from "./common.js";

const COLUMNS = [["Key"], ["Under way", "number"], ["Waiting", "number"], ["Who has a place"], ["Otherwise"], [""]];
const LIMIT_MAX = 10_000;

export function Keys({ state }) {
  const found = state.keys;
  if (!found || (found.keys.length === 0 && !state.troubles.keys)) return null;
  return html`
    <${Panel} id="keys" title="Concurrency keys" count=${number(found.keys.length + found.left_out)} trouble=${state.troubles.keys}>
      <${Table} label="Concurrency keys" columns=${COLUMNS}>
        ${found.keys.map((one) => html`<${Row} key=${one.key} one=${one} state=${state} />`)}
      <//>
    <//>
  `;
}

function Row({ one, state }) {
  const isFull = one.taken >= one.limit;
  return html`
    <tr>
      <td><bdi>${one.key}</bdi></td>
      <td class=${`number ${isFull && one.waiting ? "warn" : ""}`}>${number(one.taken)} of ${number(one.limit)}</td>
      <td class="number">${number(one.waiting)}</td>
      <td class="sentence">${one.holders.map((holder) => html`<${Holder} key=${holder.task_id} holder=${holder} />`)}</td>
      <td class="sentence">
        ${words(one.strategy)}${one.set_by && html`, set by <bdi>${principal(one.set_by)}</bdi> ${" "}<${Age} at=${one.since} /> ago`}
      </td>
      <td>${may("tasks:manage") && html`<${Change} one=${one} busy=${state.acting.has(pathOf(one))} />`}</td>
    </tr>
  `;
}

function Holder({ holder }) {
  return html`<span><${To} kind="tasks" id=${holder.task_id} />${holder.agent_id && html` <bdi>${holder.agent_id}</bdi>`} ${" "}</span>`;
}

const pathOf = (one) => `/v1/concurrency/${encodeURIComponent(one.key)}`;

function Change({ one, busy }) {
  const set = (event) => {
    event.preventDefault();
    const limit = Number(new FormData(event.currentTarget).get("limit"));
    void act("keys", pathOf(one), "", { method: "PUT", body: { limit, strategy: one.strategy } });
  };
  const drop = () => void act("keys", pathOf(one), "", { method: "DELETE" });
  return html`
    <form class="line" aria-label=${`Limit of ${one.key}`} onSubmit=${set}>
      <input name="limit" type="number" min="1" max=${LIMIT_MAX} required aria-label="Limit" />
      <button type="submit" disabled=${busy}>Set</button>
      ${one.set_by && html`<button type="button" class="quiet" disabled=${busy} onClick=${drop}>Drop</button>`}
    </form>
  `;
}
