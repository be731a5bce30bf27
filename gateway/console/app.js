/** The page: what stands where. Each part is a function of the state, drawn anew when the state has changed. */

import { html, render } from "./vendor/htm-preact.js";
import { Agents } from "./parts/agents.js";
import { Bids } from "./parts/bids.js";
import { Detail } from "./parts/detail.js";
import { Events } from "./parts/events.js";
import { Banner, Header, Notices } from "./parts/header.js";
import { Inbox } from "./parts/inbox.js";
import { Keys } from "./parts/keys.js";
import { NodeParts } from "./parts/node.js";
import { Queues } from "./parts/queues.js";
import { SignIn } from "./parts/sign_in.js";
import { Solves } from "./parts/solves.js";
import { Tasks } from "./parts/tasks.js";
import { onChange, start, state } from "./store.js";

function Page() {
  if (state.link === "signed_out") return html`<${Header} state=${state} /><${SignIn} state=${state} />`;
  return html`
    <${Header} state=${state} />
    <${Notices} state=${state} />
    <${Banner} state=${state} />
    <main class=${state.link === "live" ? "" : "stale"}>${state.place ? html`<${Inbox} state=${state} />` : html`<${Overview} state=${state} />`}</main>
  `;
}

function Overview({ state }) {
  return html`
    <div class="column">
      <${Agents} state=${state} />
      <${Tasks} state=${state} />
      <${Queues} state=${state} />
      <${Keys} state=${state} />
      <${Solves} state=${state} />
      <${NodeParts} status=${state.status} />
    </div>
    <div class="column">
      ${state.detail && html`<${Detail} key=${`${state.detail.kind}/${state.detail.id}`} state=${state} />`}
      <${Bids} state=${state} />
      <${Events} state=${state} />
    </div>
  `;
}

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state.detail) location.hash = "#/";
  if (event.key === "Escape" && state.place?.taskId) location.hash = "#/inbox";
});

const root = document.getElementById("root");
root.replaceChildren();
onChange(() => render(html`<${Page} />`, root));
start();
