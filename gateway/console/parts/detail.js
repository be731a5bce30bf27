/** One thing looked at closely: a task with its history and its book, an agent, a solve, an event. */

import { html } from "../vendor/htm-preact.js";
import { json, words } from "../format.js";
import { AgentDetail } from "./agent_detail.js";
import { Copy, Empty } from "./common.js";
import { EventDetail } from "./event_detail.js";
import { SolveDetail } from "./solve_detail.js";
import { TaskDetail } from "./task_detail.js";

const PARTS = { tasks: TaskDetail, agents: AgentDetail, solves: SolveDetail, events: EventDetail };
const NAMES = { tasks: "Task", agents: "Agent", solves: "Solve", events: "Event" };

export function Detail({ state }) {
  const { detail, troubles } = state;
  const Part = PARTS[detail.kind];
  return html`
    <section class="panel detail" id="detail" aria-labelledby="detail-title">
      <header>
        <h2 id="detail-title">${NAMES[detail.kind]} <code><bdi>${detail.id}</bdi></code></h2>
        <div class="tools">
          ${detail.row && html`<${Copy} text=${json(detail.row)} label="Copy JSON" />`}
          <a class="button" href="#/" aria-label="Close">✕</a>
        </div>
      </header>
      ${troubles.detail && html`<p class="trouble" role="alert">${words(troubles.detail)}</p>`}
      ${detail.row ? html`<${Part} detail=${detail} state=${state} />` : !troubles.detail && html`<${Empty}><p>Asking the node…</p><//>`}
    </section>
  `;
}
