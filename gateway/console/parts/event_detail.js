/** An event: who caused it, by what, and what it holds. */

import { html } from "../vendor/htm-preact.js";
import { principal, short } from "../format.js";
import { sentence } from "../sentences.js";
import { look } from "../store.js";
import { Moment, To } from "./common.js";
import { Document, Fields } from "./fields.js";

export function EventDetail({ detail }) {
  const event = detail.row;
  const delay = Math.max(0, Math.round((event.recorded_at - event.at) * 1000));
  return html`
    <p class="description"><b>${event.kind}</b> <bdi>${sentence(event)}</bdi></p>
    <${Fields}
      pairs=${[
        ["Stream", html`<${StreamLink} stream=${event.stream} />`],
        ["Version", event.version],
        ["Decided", html`<${Moment} at=${event.at} />`],
        ["Recorded", html`<span title="after the decision">+${delay} ms</span>`],
        ["Command", event.command ?? "with the event before it"],
        ["Principal", html`<span title=${event.principal}><bdi>${principal(event.principal)}</bdi></span>`],
        ["Tenant", html`<bdi>${event.tenant}</bdi>`],
        ["Cause", html`<${Cause} cause=${event.cause} />`],
        ["Correlation", event.correlation && html`<${Correlation} id=${event.correlation} />`],
      ]}
    />
    <${Document} title="Payload" value=${event.data} open=${true} />
    <nav class="steps" aria-label="Neighbors in the log">
      ${event.position > 1 && html`<${To} kind="events" id=${event.position - 1} text="← earlier" />`}
      <${To} kind="events" id=${event.position + 1} text="later →" />
    </nav>
  `;
}

const KIND_BY_PREFIX = { task: "tasks", agent: "agents", solve_job: "solves" };

function StreamLink({ stream }) {
  const dash = stream.indexOf("-");
  const [prefix, rest] = [stream.slice(0, dash), stream.slice(dash + 1)];
  const kind = KIND_BY_PREFIX[prefix];
  const id = prefix === "agent" ? rest.slice(rest.indexOf(":") + 1) : rest;
  return kind ? html`<${To} kind=${kind} id=${id} text=${`${prefix} ${short(id)}`} />` : html`<bdi>${stream}</bdi>`;
}

/** `@17` is the event at position 17; anything else is a command's id or a timer. */
function Cause({ cause }) {
  const [, position] = /^@(\d+)$/.exec(cause) ?? [];
  if (position) return html`<${To} kind="events" id=${position} text=${cause} />`;
  return html`<span title=${cause}>${cause ? short(cause) : "a request"}</span>`;
}

function Correlation({ id }) {
  return html`
    <button type="button" class="quiet" title=${id} onClick=${() => look({ correlation: id, kind: "" })}>
      ${short(id)}, show all
    </button>
  `;
}
