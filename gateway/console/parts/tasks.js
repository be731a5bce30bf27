/** The tasks, by stage: who has won each, and how long it takes. */

import { html } from "../vendor/htm-preact.js";
import { clock } from "../api.js";
import { duration, ticking, words } from "../format.js";
import { PAGE_MAX, look } from "../store.js";
import { Age, Chip, Command, Empty, Panel, Stage, Table, To, toneOf } from "./common.js";

const STAGES = [
  "submitted", "blocked", "bidding", "awarded", "running", "completed", "failed", "cancelled", "expired", "dead_lettered", "dry_run_ended",
];
const ALWAYS_SHOWN = new Set(["bidding", "running", "completed", "failed"]);
const COLUMNS = [
  ["Task"], ["Type"], ["Stage"], ["Prio", "number"], ["Winner"], ["Attempt", "number"], ["Age", "number"], ["Took", "number"],
];

export function Tasks({ state }) {
  const counts = state.status?.tasks ?? {};
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const { stage } = state.view;
  const shown = STAGES.filter((name) => counts[name] || name === stage || ALWAYS_SHOWN.has(name));
  const chips = html`
    <div class="chips" role="group" aria-label="Tasks by stage">
      <${Chip} label="all" count=${total} on=${!stage} press=${() => look({ stage: "" })} />
      ${shown.map(
        (name) => html`
          <${Chip}
            label=${words(name)} count=${counts[name] ?? 0} on=${name === stage} tone=${toneOf(name)}
            press=${() => look({ stage: name === stage ? "" : name })}
          />
        `,
      )}
    </div>
  `;
  return html`
    <${Panel} id="tasks" title="Tasks" tools=${chips} trouble=${state.troubles.tasks}>
      ${state.tasks && body(state, stage ? (counts[stage] ?? 0) : total)}
    <//>
  `;
}

function body(state, total) {
  const { tasks, view, agents } = state;
  if (!tasks.length) return view.stage ? html`<${Empty}><p>No task is ${words(view.stage)} now.</p><//>` : html`<${None} />`;
  const nameById = new Map((agents ?? []).map((agent) => [agent.agent_id, agent.name]));
  return html`
    <${Table} label="Tasks" columns=${COLUMNS}>
      ${tasks.map((task) => html`<${Row} key=${task.task_id} task=${task} winner=${nameById.get(task.agent_id)} state=${state} />`)}
    <//>
    ${total > tasks.length && html`<${More} shown=${tasks.length} total=${total} view=${view} />`}
  `;
}

function Row({ task, winner, state }) {
  const open = state.detail?.kind === "tasks" && state.detail.id === task.task_id;
  return html`
    <tr class=${open ? "open" : ""}>
      <td class="name">
        <${To} kind="tasks" id=${task.task_id} />${" "}
        ${task.description && html`<span class="about" title=${task.description}><bdi>${task.description}</bdi></span>`}
      </td>
      <td>${words(task.task_type)}</td>
      <td><${Stage} stage=${task.stage} /></td>
      <td class="number">${task.priority}</td>
      <td class="name">${task.agent_id ? html`<${To} kind="agents" id=${task.agent_id} text=${winner} />` : "–"}</td>
      <td class=${`number ${task.attempt > 1 ? "warn" : ""}`}>${task.attempt || "–"}</td>
      <td class="number"><${Age} at=${task.submitted_at} /></td>
      <td class="number">${took(task)}</td>
    </tr>
  `;
}

/** The time from the last award to the end, or to now. */
export function took(task) {
  if (task.seconds !== null) return duration(task.seconds);
  if (!task.awarded_at || !task.agent_id) return "–";
  return task.ended_at ? duration(task.ended_at - task.awarded_at) : ticking(clock.now() - task.awarded_at);
}

function More({ shown, total, view }) {
  return html`
    <p class="note">
      The newest ${shown} of ${total} are shown.${" "}
      ${view.tasksMax < PAGE_MAX &&
      html`<button type="button" class="quiet" onClick=${() => look({ tasksMax: PAGE_MAX })}>Show ${PAGE_MAX}</button>`}
    </p>
  `;
}

function None() {
  const task = '{"task_type": "analysis", "capabilities": ["echo"], "budget_seconds": 30, "payload": {"say": "hello"}}';
  return html`
    <${Empty}>
      <p>No tasks yet. Submit one with any key that may (<code>admin-key</code> in the data folder holds one):</p>
      <${Command} text=${`curl ${location.origin}/v1/tasks -H "Authorization: Bearer $(cat "$GAVEL_DATA/admin-key")" \\\n  -H 'Content-Type: application/json' -d '${task}'`} />
    <//>
  `;
}
