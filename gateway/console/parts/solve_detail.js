/** A solve: the problem, the best value, and what is needed to run it again. */

import { html } from "../vendor/htm-preact.js";
import { duration, number, words } from "../format.js";
import { Moment, Stage, To } from "./common.js";
import { Document, Fields, Timeline } from "./fields.js";

export function SolveDetail({ detail }) {
  const solve = detail.row;
  return html`
    <${Fields}
      pairs=${[
        ["Stage", html`<${Stage} stage=${solve.stage} />`],
        ["Problem", html`<bdi>${solve.problem}</bdi>`],
        ["Best value", `${number(solve.value)} (${solve.sense})`],
        ["Target", solve.target !== null ? number(solve.target) : ""],
        ["Variables", number(solve.variables)],
        ["Format", solve.format],
        ["Took", `${duration(solve.seconds_taken)} of ${duration(solve.seconds)}`],
        ["Work", solve.work !== null ? number(solve.work) : ""],
        ["Seed", solve.seed !== null ? String(solve.seed) : ""],
        ["Algorithm", words(solve.algorithm)],
        ["For task", solve.task_id && html`<${To} kind="tasks" id=${solve.task_id} />`],
        ["Input", solve.blob && html`<code title=${solve.blob}>${solve.blob.slice(0, 12)}…</code>`],
        ["Queued", html`<${Moment} at=${solve.queued_at} />`],
        ["Reason", words(solve.reason)],
      ]}
    />
    <${Document} title="Assignment" value=${solve.assignment || null} />
    <${Timeline} records=${detail.records} />
  `;
}
