/** How the node is inside: how far the read models are, and how busy each actor is. */

import { html } from "../vendor/htm-preact.js";
import { number } from "../format.js";
import { Panel, Table } from "./common.js";

const READ_MODELS = [["Read model"], ["Position", "number"], ["Behind", "number"], ["Fault"]];
const ACTORS = [
  ["Actor"], ["Key"], ["State"], ["Waiting", "number"], ["Peak", "number"], ["Of", "number"], ["Handled", "number"], ["Crashes", "number"],
];

export function NodeParts({ status }) {
  if (!status) return null;
  return html`
    <${Panel} id="node" title="Node">
      <p class="note">
        ${number(status.commits)} commits, ${number(status.commit_failures)} failed,${" "}
        ${number(status.waiting)} waiting to be committed.
        ${status.last_commit_failure && html` Last failure: <span class="bad">${status.last_commit_failure}</span>`}
      </p>
      <${Table} label="Read models" columns=${READ_MODELS}>
        ${status.projections.map((one) => html`<${ReadModel} key=${one.name} one=${one} position=${status.position} />`)}
      <//>
      ${status.actors.length > 0 &&
      html`<${Table} label="Actors" columns=${ACTORS}>${status.actors.map((one) => html`<${Actor} key=${`${one.actor} ${one.key}`} one=${one} />`)}<//>`}
    <//>
  `;
}

function ReadModel({ one, position }) {
  const behind = Math.max(0, position - one.position);
  return html`
    <tr>
      <td>${one.name.split("/")[0]}</td>
      <td class="number">${number(one.position)}</td>
      <td class=${`number ${behind ? "warn" : ""}`}>${number(behind)}</td>
      <td class="bad sentence">${one.reason ? `stopped at ${one.stopped_at}: ${one.reason}` : ""}</td>
    </tr>
  `;
}

function Actor({ one }) {
  return html`
    <tr>
      <td>${one.actor}</td>
      <td><bdi>${one.key}</bdi></td>
      <td class=${one.state === "running" ? "" : "bad"}>${one.state}</td>
      <td class="number">${number(one.mailbox)}</td>
      <td class="number">${number(one.mailbox_peak)}</td>
      <td class="number">${number(one.mailbox_max)}</td>
      <td class="number">${number(one.handled)}</td>
      <td class=${`number ${one.crashes ? "bad" : ""}`}>${number(one.crashes)}</td>
    </tr>
  `;
}
