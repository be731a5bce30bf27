/** An agent: what it offers, and how it came, went and fared. */

import { html } from "../vendor/htm-preact.js";
import { duration, number, words } from "../format.js";
import { Moment, Stage, To } from "./common.js";
import { Fields } from "./fields.js";

/** A skill with its version or range, and its attributes. */
export function skill({ name, version, attributes }) {
  const more = Object.entries(attributes).map(([key, value]) => `${key} ${[value].flat().join(" or ")}`);
  return [[name, version].filter(Boolean).join(" "), ...more].join(", ");
}

/** A shift: its days in short, and its times. */
function shift({ days, start, end }) {
  return `${days.map((day) => day.slice(0, 3)).join(" ")} ${start}–${end}`;
}

export function AgentDetail({ detail }) {
  const agent = detail.row;
  return html`
    <p class="description"><b><bdi>${agent.name}</bdi></b> <bdi>${agent.description}</bdi></p>
    <${Fields}
      pairs=${[
        ["Status", html`<${Stage} stage=${agent.status} />`],
        ["Type", words(agent.agent_type)],
        ["Generation", agent.generation],
        ["Working hours", agent.working_hours.shifts.map(shift).join("; ")],
        ["Time zone", agent.working_hours.shifts.length ? agent.working_hours.time_zone : ""],
        ["Running", `${agent.running} of ${agent.slots}`],
        ["Skills", agent.capabilities.join(", ")],
        ["Versions", agent.skills.map(skill).join("; ")],
        ["Region", agent.region],
        ["Special", agent.specializations.join(", ")],
        ["Price", number(agent.price)],
        ["Prices", Object.entries(agent.prices).map(([topic, price]) => `${topic} ${number(price)}`).join(", ")],
        ["Capacity", `${number(agent.used_capacity)} of ${number(agent.max_capacity)}`],
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
    <${Moments} moments=${detail.records} />
  `;
}

const TONE_BY_WHAT = { registered: "good", cleared: "good", returned: "good", suspected: "warn", draining: "warn", deregistered: "warn", lost: "bad", failed: "bad", lease_lost: "bad", reported_late: "bad" };

/** What happened to it, the last first: where it became inactive, why. */
function Moments({ moments }) {
  if (!moments) return null;
  return html`
    <h3>Timeline</h3>
    <ol class="timeline" id="history">
      ${moments.map(
        (moment) => html`
          <li key=${moment.position} class=${TONE_BY_WHAT[moment.what] ?? "plain"}>
            <${Moment} at=${moment.at} />
            <span class="after"></span>
            <span class="kind">${words(moment.what)}</span>
            <span class="sentence"><bdi>${why(moment)}</bdi> ${moment.task_id && html`<${To} kind="tasks" id=${moment.task_id} />`}</span>
            <${To} kind="events" id=${moment.position} text=${`@${moment.position}`} />
          </li>
        `,
      )}
    </ol>
  `;
}

function why(moment) {
  const told = [];
  if (moment.generation !== null) told.push(`generation ${moment.generation}`);
  if (moment.reason) told.push(words(moment.reason));
  if (moment.silent_seconds !== null) told.push(`for ${duration(moment.silent_seconds)}`);
  if (moment.lease_seconds !== null) told.push(`lease ${duration(moment.lease_seconds)}`);
  if (moment.token !== null) told.push(`token ${moment.token}`);
  return told.join(", ");
}
