/** The node's own solver at work: the best value of each run so far. */

import { html } from "../vendor/htm-preact.js";
import { clock } from "../api.js";
import { duration, number, ticking } from "../format.js";
import { Age, Empty, Panel, Stage, Table, To } from "./common.js";

const COLUMNS = [
  ["Solve"], ["Problem"], ["Stage"], ["Variables", "number"], ["Best value", "number"], ["Took", "number"], ["Of", "number"],
  ["Age", "number"],
];

export function Solves({ state }) {
  const rows = state.solves ?? [];
  return html`
    <${Panel} id="solves" title="Solves" count=${rows.length || undefined} trouble=${state.troubles.solves}>
      ${rows.length
        ? html`<${Table} label="Solves" columns=${COLUMNS}>${rows.map((solve) => html`<${Row} key=${solve.job_id} solve=${solve} state=${state} />`)}<//>`
        : state.solves &&
          html`<${Empty}><p>No solves yet. They begin when the node's solver wins an optimization task, or with <code>POST /v1/solves</code>.</p><//>`}
    <//>
  `;
}

function Row({ solve, state }) {
  const open = state.detail?.kind === "solves" && state.detail.id === solve.job_id;
  const running = solve.stage === "running" && solve.started_at;
  const took = running ? ticking(clock.now() - solve.started_at) : duration(solve.seconds_taken);
  return html`
    <tr class=${open ? "open" : ""}>
      <td><${To} kind="solves" id=${solve.job_id} /></td>
      <td class="name"><bdi>${solve.problem}</bdi></td>
      <td><${Stage} stage=${solve.stage} /></td>
      <td class="number">${number(solve.variables)}</td>
      <td class="number"><b>${number(solve.value)}</b> ${solve.value !== null && html`<span class="about">${solve.sense}</span>`}</td>
      <td class="number">${took}</td>
      <td class="number">${duration(solve.seconds)}</td>
      <td class="number"><${Age} at=${solve.queued_at} /></td>
    </tr>
  `;
}
