/** An agent: what it offers, and how it came, went and fared. */

import { html } from "../vendor/htm-preact.js";
import { duration, number, words } from "../format.js";
import { Moment, Stage } from "./common.js";
import { Fields, Timeline } from "./fields.js";

export function AgentDetail({ detail }) {
  const agent = detail.row;
  return html`
    <p class="description"><b><bdi>${agent.name}</bdi></b> <bdi>${agent.description}</bdi></p>
    <${Fields}
      pairs=${[
        ["Status", html`<${Stage} stage=${agent.status} />`],
        ["Type", words(agent.agent_type)],
        ["Generation", agent.generation],
        ["Running", `${agent.running} of ${agent.slots}`],
        ["Skills", agent.capabilities.join(", ")],
        ["Special", agent.specializations.join(", ")],
        ["Price", number(agent.price)],
        ["Capacity", number(agent.max_capacity)],
        ["Lease", duration(agent.lease_seconds)],
        ["Bids", number(agent.bids)],
        ["Won", number(agent.won)],
        ["Completed", number(agent.completed)],
        ["Failed", number(agent.failed)],
        ["Leases lost", number(agent.leases_lost)],
        ["Late reports", number(agent.late_reports)],
        ["Registered", html`<${Moment} at=${agent.registered_at} />`],
        ["Last event", html`<${Moment} at=${agent.last_event_at} />`],
        ["Reason", agent.reason],
      ]}
    />
    <${Timeline} records=${detail.records} />
  `;
}
