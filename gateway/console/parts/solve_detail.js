/** A solve: the problem, the best value and how it was found, and what is needed to run it again. */

import { html } from "../vendor/htm-preact.js";
import { duration, number, words } from "../format.js";
import { Moment, Stage, To } from "./common.js";
import { Course } from "./course.js";
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
        ["Not where asked", solve.degraded],
        ["Threads", solve.threads > 1 ? String(solve.threads) : ""],
        ["Gap to bound", solve.gap !== null ? number(solve.gap) : ""],
        ["Baseline took", solve.quantum_advantage !== null ? `${number(solve.quantum_advantage)} times as long` : ""],
        ["Begun with", solve.warm_start?.job_id && html`<${To} kind="solves" id=${solve.warm_start.job_id} />`],
        ["For task", solve.task_id && html`<${To} kind="tasks" id=${solve.task_id} />`],
        ["Input", solve.blob && html`<code title=${solve.blob}>${solve.blob.slice(0, 12)}…</code>`],
        ["Queued", html`<${Moment} at=${solve.queued_at} />`],
        ["Reason", words(solve.reason)],
      ]}
    />
    <${Course} solve=${solve} records=${detail.records} />
    <${Document} title="Features" value=${solve.features} />
    <${Document} title="Parameters" value=${solve.parameters} />
    <${Document} title="Baseline" value=${solve.baseline_run} />
    <${Document} title="Assignment" value=${solve.assignment || null} />
    <${Timeline} records=${detail.records} />
  `;
}
