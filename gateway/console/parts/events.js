/** The newest events of the log, as they are committed. */

import { html } from "../vendor/htm-preact.js";
import { number, short } from "../format.js";
import { sentence, tone } from "../sentences.js";
import { EVENTS_MAX, look, pause } from "../store.js";
import { Chip, Empty, Moment, Panel, Table, To } from "./common.js";

const COLUMNS = [["Position", "number"], ["Time"], ["Kind"], ["What"]];

export function Events({ state }) {
  const { frozen, view } = state;
  const events = frozen ?? state.events;
  const shown = events.filter((event) => matches(event, view)).reverse();
  return html`
    <${Panel} id="events" title="Events" tools=${html`<${Tools} state=${state} events=${events} />`}>
      ${shown.length
        ? html`<${Table} label="Events, newest first" columns=${COLUMNS}>${shown.map((event) => html`<${Row} key=${event.position} event=${event} state=${state} />`)}<//>`
        : html`<${Empty}><p>${events.length ? `None of the newest ${events.length} events is like this.` : "Nothing has happened yet."}</p><//>`}
      ${events.length === EVENTS_MAX && html`<p class="note">The newest ${EVENTS_MAX}; <code>gavel log tail</code> has them all.</p>`}
    <//>
  `;
}

function matches(event, view) {
  if (view.correlation && event.correlation !== view.correlation) return false;
  return !view.kind || event.kind === view.kind || event.kind.startsWith(`${view.kind}.`);
}

function Tools({ state, events }) {
  const { frozen, since, view } = state;
  const kinds = [...new Set([...events.map((event) => event.kind), ...(view.kind.includes(".") ? [view.kind] : [])])].sort();
  const aggregates = [...new Set(kinds.map((kind) => kind.slice(0, kind.indexOf("."))))];
  return html`
    <div class="tools">
      ${view.correlation &&
      html`<${Chip} label=${`caused by ${short(view.correlation)} ✕`} on=${true} press=${() => look({ correlation: "" })} />`}
      <select aria-label="Kind of event" value=${view.kind} onChange=${(event) => look({ kind: event.target.value })}>
        <option value="">all kinds</option>
        ${aggregates.map(
          (name) => html`
            <optgroup label=${name}>
              <option value=${name}>${name}: all</option>
              ${kinds
                .filter((kind) => kind.startsWith(`${name}.`))
                .map((kind) => html`<option value=${kind}>${kind.slice(name.length + 1)}</option>`)}
            </optgroup>
          `,
        )}
      </select>
      <button type="button" aria-pressed=${frozen ? "true" : "false"} onClick=${() => pause(!frozen)}>
        ${frozen ? `Resume${since ? ` (${number(since)} new)` : ""}` : "Pause"}
      </button>
    </div>
  `;
}

function Row({ event, state }) {
  const open = state.detail?.kind === "events" && Number(state.detail.id) === event.position;
  const [aggregate, name] = event.kind.split(".");
  return html`
    <tr class=${open ? "open" : ""}>
      <td class="number"><${To} kind="events" id=${event.position} text=${number(event.position)} /></td>
      <td><${Moment} at=${event.at} /></td>
      <td class=${`kind ${tone(event.kind)}`}><span class="aggregate">${aggregate}.</span>${name}</td>
      <td class="sentence" title=${sentence(event)}><bdi>${sentence(event)}</bdi></td>
    </tr>
  `;
}
