/** Who is there, and what each does and has done. */

import { html } from "../vendor/htm-preact.js";
import { number, words } from "../format.js";
import { PAGE_MAX, look } from "../store.js";
import { Age, Chip, Command, Empty, Panel, Stage, Table, To, toneOf } from "./common.js";

const STATUSES = ["active", "draining", "suspect", "lost", "deregistered"];
const COLUMNS = [
  ["Agent"], ["Type"], ["Status"], ["Gen", "number"], ["Running", "number"], ["Won", "number"], ["Done", "number"],
  ["Failed", "number"], ["Last event", "number"],
];

export function Agents({ state }) {
  const counts = state.status?.agents ?? {};
  const { status } = state.view;
  const rows = (state.agents ?? []).filter((agent) => !status || agent.status === status).sort(byStatusAndName);
  const chips = html`
    <div class="chips" role="group" aria-label="Agents by status">
      ${STATUSES.filter((name) => counts[name] || name === status).map(
        (name) => html`
          <${Chip}
            label=${words(name)} count=${counts[name] ?? 0} on=${name === status} tone=${toneOf(name)}
            press=${() => look({ status: name === status ? "" : name })}
          />
        `,
      )}
    </div>
  `;
  return html`
    <${Panel} id="agents" title="Agents" count=${state.agents ? rows.length : undefined} tools=${chips} trouble=${state.troubles.agents}>
      ${rows.length
        ? html`<${Table} label="Agents" columns=${COLUMNS}>${rows.map((agent) => html`<${Row} key=${agent.agent_id} agent=${agent} state=${state} />`)}<//>`
        : state.agents && html`<${None} />`}
      ${state.agents?.length === PAGE_MAX && html`<p class="note">The newest ${PAGE_MAX} are shown.</p>`}
    <//>
  `;
}

function Row({ agent, state }) {
  const open = state.detail?.kind === "agents" && state.detail.id === agent.agent_id;
  return html`
    <tr class=${open ? "open" : ""}>
      <td class="name"><${To} kind="agents" id=${agent.agent_id} text=${agent.name} /></td>
      <td>${words(agent.agent_type)}</td>
      <td><${Stage} stage=${agent.status} /></td>
      <td class="number">${agent.generation}</td>
      <td class="number">${agent.running} / ${agent.slots}</td>
      <td class="number">${number(agent.won)}</td>
      <td class="number">${number(agent.completed)}</td>
      <td class=${`number ${agent.failed + agent.leases_lost ? "bad" : ""}`} title=${`${agent.leases_lost} leases lost`}>
        ${number(agent.failed + agent.leases_lost)}
      </td>
      <td class="number"><${Age} at=${Math.max(agent.last_event_at, state.heardByAgent.get(agent.agent_id) ?? 0)} /></td>
    </tr>
  `;
}

function byStatusAndName(one, other) {
  return STATUSES.indexOf(one.status) - STATUSES.indexOf(other.status) || one.name.localeCompare(other.name);
}

function None() {
  return html`
    <${Empty}>
      <p>No agents here. Start one: an enrolment key lets it register, and it gets a key of its own.</p>
      <${Command} text=${`export GAVEL_KEY=$(gavel keys create --role agent)\npython examples/agent.py --url ${location.origin} --id ada --skills echo`} />
    <//>
  `;
}
