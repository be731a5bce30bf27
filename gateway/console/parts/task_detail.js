/** A task: what was asked for, who offered what, who won and why, what came of it. */

import { html } from "../vendor/htm-preact.js";
import { duration, number, percent, principal, words } from "../format.js";
import { skill } from "./agent_detail.js";
import { Moment, Stage, Table, To } from "./common.js";
import { Explanation } from "./explanation.js";
import { Document, Fields, Timeline } from "./fields.js";
import { took } from "./tasks.js";

const TERMS = ["price", "speed", "confidence", "load", "performance", "success", "response"];
const COLUMNS = [["#", "number"], ["Agent"], ["Outcome"], ["Score"], ["Price", "number"], ["Seconds", "number"], ["Sure", "number"]];

export function TaskDetail({ detail, state }) {
  const task = detail.row;
  const nameById = new Map((state.agents ?? []).map((agent) => [agent.agent_id, agent.name]));
  const agent = (id) => html`<${To} kind="agents" id=${id} text=${nameById.get(id)} />`;
  return html`
    ${task.description && html`<p class="description"><bdi>${task.description}</bdi></p>`}
    <${Fields}
      pairs=${[
        ["Stage", html`<${Stage} stage=${task.stage} />`],
        ["Canceling", task.canceling_until && html`by <${Moment} at=${task.canceling_until} />${task.canceling_reason ? `: ${task.canceling_reason}` : ""}`],
        ["Asked", task.question && html`<bdi>${task.question}</bdi>`],
        ["Answered", task.answer && html`<bdi>${task.answer}</bdi>`],
        ["Waits for input", task.waits_for_input_since && html`since <${Moment} at=${task.waits_for_input_since} />`],
        ["Type", words(task.task_type)],
        ["Schemas", task.schema_version ? `version ${task.schema_version}` : ""],
        ["Concurrency", task.concurrency && `${task.concurrency.limit} of ${task.concurrency.key}, ${words(task.concurrency.strategy)}`],
        ["Queue", task.queue === task.task_type ? "" : task.queue],
        ["Priority", task.priority],
        ["Winner", task.agent_id && agent(task.agent_id)],
        ["Would win", task.would_win && agent(task.would_win)],
        ["Attempt", task.attempt ? `${task.attempt} of ${task.attempts_max}` : ""],
        ["Took", task.awarded_at && task.agent_id ? took(task) : ""],
        ["Budget", duration(task.budget_seconds)],
        ["Needs", task.capabilities.join(", ")],
        ["Versions", task.skills.map(skill).join("; ")],
        ["Regions", task.regions.join(", ")],
        ["Takes", task.units ? `${number(task.units)} units` : ""],
        ["Awarded by", task.award_policy === "weighted_score" ? "" : words(task.award_policy)],
        ["Meant for", task.assign_to ?? ""],
        ["Pays at most", task.price_max === null ? "" : number(task.price_max)],
        ["Price", task.price === null ? "" : paid(task)],
        ["Charged", task.charged === null ? "" : number(task.charged)],
        ["Waits for", task.dependencies.length ? task.dependencies.map((id) => html`<${To} kind="tasks" id=${id} />${" "}`) : ""],
        ["Without a winner", task.no_bids.then === "wait" ? "" : `${task.no_bids.then}${task.no_bids.rounds_max ? `, fails after ${task.no_bids.rounds_max}` : ""}`],
        ["Calls at first", task.no_bids.call_max],
        ["If one fails", task.dependencies.length ? words(task.dependency_policy) : ""],
        ["Without", task.unmet.length ? task.unmet.map((id) => html`<${To} kind="tasks" id=${id} />${" "}`) : ""],
        ["Independent of", task.independent_of.length ? task.independent_of.map((id) => html`<${To} kind="tasks" id=${id} />${" "}`) : ""],
        ["Not before", task.not_before && html`<${Moment} at=${task.not_before} />`],
        ["Deadline", task.deadline && html`<${Moment} at=${task.deadline} />`],
        ["Submitted", html`<${Moment} at=${task.submitted_at} />`],
        ["By", html`<span title=${task.submitted_by}><bdi>${principal(task.submitted_by)}</bdi></span>`],
        ["Reason", words(task.reason)],
      ]}
    />
    ${task.award_reason && html`<p class="why" id="why"><b>Why:</b> <bdi>${task.award_reason}</bdi></p>`}
    ${state.troubles.why && html`<p class="trouble" role="alert">${state.troubles.why}</p>`}
    <${Explanation} told=${detail.why} agent=${agent} />
    <${Books} bids=${task.bids} agent=${agent} />
    <${Timeline} records=${detail.records} />
    <${Document} title="Result" value=${task.result} open=${true} />
    <${Document} title="Payload" value=${task.payload} />
    <${Document} title="Blobs" value=${task.blobs} />
    <${Document} title="Requirements" value=${task.requirements} />
  `;
}

function paid(task) {
  return task.price === task.price_asked ? number(task.price) : `${number(task.price)}, asked ${number(task.price_asked)}`;
}

/** The answers of each round, the last round first. */
function Books({ bids, agent }) {
  const rounds = [...new Set(bids.map((bid) => bid.round))].sort((one, other) => other - one);
  return rounds.map(
    (round) => html`
      <h3>Bids of round ${round}</h3>
      <${Table} label=${`Bids of round ${round}`} columns=${COLUMNS}>
        ${bids.filter((bid) => bid.round === round).sort(byRank).map((bid) => html`<${Bid} key=${bid.agent_id} bid=${bid} agent=${agent} />`)}
      <//>
    `,
  );
}

function byRank(one, other) {
  return (one.rank ?? Infinity) - (other.rank ?? Infinity) || one.first_position - other.first_position;
}

const TONE_BY_STATE = { won: "good", placed: "bid", sealed: "bid", opened: "bid", lost: "plain", withdrawn: "warn", refused: "warn" };

function Bid({ bid, agent }) {
  const outcome = bid.state !== "won" && bid.reason ? `${bid.state}: ${words(bid.reason)}` : bid.state;
  const scored = bid.score !== null && bid.terms && !bid.terms.lost;
  return html`
    <tr>
      <td class="number">${bid.rank ?? "–"}</td>
      <td class="name">${agent(bid.agent_id)}</td>
      <td><span class=${`stage ${TONE_BY_STATE[bid.state] ?? "plain"}`}>${outcome}</span></td>
      <td class="score">
        ${scored ? html`<meter min="0" max="1.05" value=${bid.score} aria-hidden="true"></meter> ${number(bid.score)}` : "–"}
      </td>
      <td class="number">${number(bid.price)}</td>
      <td class="number">${duration(bid.eta_seconds)}</td>
      <td class="number">${percent(bid.confidence)}</td>
    </tr>
    ${bid.conditions && html`<tr class="terms"><td></td><td colspan=${COLUMNS.length - 1}>if <bdi>${bid.conditions}</bdi></td></tr>`}
    ${scored && html`<${Terms} terms=${bid.terms} />`}
  `;
}

/** What makes the score: each term lies between 0 and 1, more is better. */
function Terms({ terms }) {
  return html`
    <tr class="terms">
      <td></td>
      <td colspan=${COLUMNS.length - 1}>
        ${TERMS.map((name) => html`<span>${name} ${terms[`${name}_term`].toFixed(2)}</span>`)}
        ${terms.specialist && html`<span>specialist +0.05</span>`}
      </td>
    </tr>
  `;
}
