/** Why a task is where it is: what it waits for and since when, and why each agent was not called or did not win. */

import { html } from "../vendor/htm-preact.js";
import { clock } from "../api.js";
import { duration, number, ticking, words } from "../format.js";
import { Age, Table, To } from "./common.js";

const COLUMNS = [["Agent"], ["Why not"], ["In detail"]];
const TERMS_SHOWN_MAX = 3;
const TONE_BY_REASON = { won: "good", bid_placed: "bid", awaited: "bid", nothing: "plain", refused: "warn", withdrawn: "warn", no_bid: "warn", lost: "bad" };

export function Explanation({ told, agent }) {
  if (!told) return null;
  return html`
    <section id="explanation" aria-labelledby="explanation-title">
      <h3 id="explanation-title">Why it is where it is</h3>
      <p class="summary"><bdi>${told.summary}</bdi></p>
      ${told.waits_for.length > 0 && html`<ul class="waits">${told.waits_for.map((wait, index) => html`<${Wait} key=${index} wait=${wait} agent=${agent} />`)}</ul>`}
      ${told.line && html`<${Line} line=${told.line} />`}
      ${told.agents.length > 0 &&
      html`
        <${Table} label="Why each agent does not have it" columns=${COLUMNS}>
          ${told.agents.map((one) => html`<${Verdict} key=${one.agent_id} verdict=${one} agent=${agent} />`)}
        <//>
        ${told.next !== null && html`<p class="note">The newest ${told.agents.length} agents are shown.</p>`}
      `}
    </section>
  `;
}

function Wait({ wait, agent }) {
  const left = wait.until === null ? null : wait.until - clock.now();
  return html`
    <li>
      <b>${words(wait.reason)}</b>${" "}
      ${wait.task_id ? html`<${To} kind="tasks" id=${wait.task_id} /> is ${words(wait.stage)}` : html`<bdi>${wait.detail}</bdi>`}
      ${" "}<span class="after">for <${Age} at=${wait.since} />${left === null ? "" : left > 0 ? `, ${ticking(left)} more at most` : ", time is up"}</span>
      ${wait.held.map((one) => html`<div>${agent(one.agent_id)} has <${To} kind="tasks" id=${one.task_id} /> for <${Age} at=${one.since} /></div>`)}
    </li>
  `;
}

function Line({ line }) {
  return html`
    <p class="note">
      In line: ${number(line.ahead)} before it, ${number(line.ahead_alike)} with the same skills; priority ${line.priority} and${" "}
      ${number(line.gained)} for ${duration(line.waited_seconds)} of waiting.
    </p>
  `;
}

function Verdict({ verdict, agent }) {
  return html`
    <tr>
      <td class="name">${agent(verdict.agent_id)}</td>
      <td><span class=${`stage ${TONE_BY_REASON[verdict.reason] ?? "plain"}`}>${words(verdict.reason)}</span></td>
      <td class="wide"><bdi>${verdict.detail}</bdi>${verdict.behind && html`${" "}<span class="after">${shortfall(verdict.behind)}</span>`}</td>
    </tr>
  `;
}

/** Where the points were lost, the most first. */
function shortfall(behind) {
  if (behind.tie_break) return `equal scores: ${words(behind.tie_break)}`;
  const lost = behind.terms.filter((term) => term.points > 0).slice(0, TERMS_SHOWN_MAX);
  return lost.map((term) => `${term.name} -${term.points.toFixed(3)}`).join(", ");
}
