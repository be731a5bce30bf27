/** What the node says of itself, whether the page still hears it, and who is signed in. */

import { html } from "../vendor/htm-preact.js";
import { number, principal, ticking, words } from "../format.js";
import { mayWork, retry, signOut, silence } from "../store.js";
import { ThemeChoice } from "./theme.js";

const LINK = {
  live: ["good", "Live"],
  connecting: ["plain", "Connecting"],
  lost: ["bad", "Disconnected"],
  refused: ["bad", "Not allowed"],
  signed_out: ["warn", "Signed out"],
};

export function Header({ state }) {
  const { status, link } = state;
  const [tone, text] = LINK[link];
  return html`
    <header class="bar">
      <a class="brand" href="#/"><img src="/console/icon.svg" alt="" width="22" height="22" /><h1>Gavel</h1></a>
      ${mayWork() && html`<${Places} state=${state} />`}
      ${status && html`<${Figures} state=${state} />`}
      <div class="right">
        <span id="link" class=${`link ${tone}`} role="status"><i class="dot" aria-hidden="true"></i>${text}</span>
        ${state.me && html`<${Who} me=${state.me} />`}
        <${ThemeChoice} />
        ${link !== "signed_out" && html`<button type="button" class="quiet" onClick=${signOut}>Sign out</button>`}
      </div>
    </header>
  `;
}

/** The node as it is, or what a person has to do. */
function Places({ state }) {
  const held = state.inbox?.held ?? [];
  const soon = held.some((one) => one.ends_soon);
  const here = (yes) => (yes ? "page" : undefined);
  return html`
    <nav aria-label="Pages" class="chips">
      <a class="button" href="#/" aria-current=${here(!state.place)}>Node</a>
      <a class="button" id="to-inbox" href="#/inbox" aria-current=${here(state.place)}>
        Inbox${held.length > 0 && html` <b class=${soon ? "warn" : ""}>${held.length}</b>`}
      </a>
    </nav>
  `;
}

function Who({ me }) {
  return html`
    <span id="who" title=${`${me.principal}, of the tenant ${me.tenant}`}>
      <bdi>${principal(me.principal)}</bdi>, ${words(me.role)}
    </span>
  `;
}

function Figures({ state }) {
  const { status, position, link } = state;
  const sealed = status.checkpoint;
  const [tone, health] = link !== "live" ? ["warn", "not heard"] : status.ready ? ["good", "ready"] : ["bad", "not ready"];
  return html`
    <dl class="figures" id="figures">
      <div>
        <dt>Node</dt>
        <dd id="health" class=${tone}>${health}</dd>
      </div>
      <div><dt>Version</dt><dd>${status.version}</dd></div>
      ${status.journal !== "main" && html`<div><dt>Journal</dt><dd id="journal">${status.journal}</dd></div>`}
      <div><dt>Up</dt><dd>${ticking(status.uptime_seconds)}</dd></div>
      <div><dt>Position</dt><dd id="position">${number(Math.max(position, status.position))}</dd></div>
      <div title=${sealed ? `${sealed.origin}\n${sealed.root}` : "no checkpoint yet"}>
        <dt>Sealed</dt>
        <dd id="sealed">
          ${sealed ? html`${number(sealed.size)} <code>${sealed.root.slice(0, 12)}</code>` : "–"}
        </dd>
      </div>
    </dl>
  `;
}

/** What operators have to know for as long as it is so, whatever else is shown. */
export function Notices({ state }) {
  if (!state.status || !state.status.open_loopback) return null;
  return html`
    <div class="banner warn" id="open-loopback">
      <p>
        <strong>Loopback stands open.</strong> Programs of the node's machine work as ${" "}<code>operator:loopback</code>${" "}
        of the tenant ${" "}<code>default</code>${" "} without a key. <code>GAVEL_OPEN_LOOPBACK=false</code> ends that.
      </p>
    </div>
  `;
}

export function Banner({ state }) {
  const { link, status, why } = state;
  if (link === "lost") return html`<${Lost} state=${state} />`;
  if (link === "refused") return html`<div class="banner bad"><p role="alert">The node refuses: ${why}</p></div>`;
  if (!status) return null;
  const faults = [...status.faults, ...status.journals.flatMap(faultsOf)];
  if (faults.length === 0) return null;
  return html`
    <div class="banner bad">
      <p role="alert">${status.ready ? "A named journal is not ready." : "The node is not ready."}</p>
      <ul>${faults.map((fault) => html`<li>${fault}</li>`)}</ul>
    </div>
  `;
}

function faultsOf(journal) {
  const faults = journal.open ? journal.faults : [`closed: ${journal.reason}`];
  return faults.map((fault) => `journal ${journal.name}: ${fault}`);
}

function Lost({ state }) {
  const seconds = Math.max(0, Math.ceil((state.retryAt - Date.now()) / 1000));
  return html`
    <div class="banner bad" id="stale">
      <p>
        <strong role="alert">Disconnected.</strong>${" "}
        ${state.heardAt
          ? html`What you see is <b>${ticking(silence())}</b> old.`
          : "The node has not answered yet."}${" "}
        ${seconds ? `Trying again in ${seconds} s.` : "Trying again…"}
      </p>
      <button type="button" onClick=${retry}>Try now</button>
    </div>
  `;
}
