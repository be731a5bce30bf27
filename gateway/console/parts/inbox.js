/** The inbox of who is signed in: what they have, what they could take, what they are asked; and who they say they are. */

import { html } from "../vendor/htm-preact.js";
import { duration, number, principal, ticking, words } from "../format.js";
import { answer, join, pauseInbox, take } from "../inbox.js";
import { leftNow } from "../store.js";
import { Empty, Moment, Panel, Stage, Table } from "./common.js";
import { InboxTask } from "./inbox_task.js";

const OFFERS = [["Task"], ["Priority", "number"], ["Deadline"], ["Takes", "number"], ["Price", "number"], [""]];

export function Inbox({ state }) {
  const { inbox, noInbox } = state;
  if (noInbox) return html`<div class="column"><${Profile} state=${state} first=${true} /></div>`;
  if (!inbox) return html`<div class="column"><${Panel} id="inbox" title="Inbox" trouble=${state.troubles.inbox}><${Empty}>…<//><//></div>`;
  return html`
    <div class="column">
      <${Held} state=${state} held=${inbox.held} bids=${inbox.bids} />
      <${Offers} state=${state} offers=${inbox.offers} more=${inbox.next} />
      ${inbox.questions.length > 0 && html`<${Questions} questions=${inbox.questions} doing=${state.doing} />`}
      <${Profile} state=${state} first=${false} />
    </div>
    <div class="column">
      ${state.place.taskId
        ? html`<${InboxTask} key=${state.place.taskId} state=${state} />`
        : html`<${Panel} id="inbox-task" title="Task"><${Empty}>Choose a task to see what it asks for.<//><//>`}
    </div>
  `;
}

function Name({ task }) {
  return html`
    <a class="to" href=${`#/inbox/${encodeURIComponent(task.task_id)}`} title=${task.task_id}>
      <bdi>${task.description || words(task.task_type)}</bdi>
    </a>
  `;
}

function Held({ state, held, bids }) {
  return html`
    <${Panel} id="held" title="Yours" count=${held.length} trouble=${state.troubles.inbox}>
      ${held.length === 0 && bids.length === 0 && html`<${Empty}>You have no task now.<//>`}
      <ul class="cards">
        ${held.map((one) => html`<${Card} key=${one.task.task_id} one=${one} />`)}
        ${bids.map(
          (one) => html`
            <li key=${one.task.task_id}>
              <${Name} task=${one.task} /> <span class="about">others were asked, too; decided by <${Moment} at=${one.closes_at} /></span>
            </li>
          `,
        )}
      </ul>
    <//>
  `;
}

function Card({ one }) {
  const { task } = one;
  const left = leftNow(one.seconds_left);
  return html`
    <li>
      <${Name} task=${task} /> <${Stage} stage=${task.stage} />
      ${task.progress !== null && html`<progress max="1" value=${task.progress} aria-label="how far it is"></progress>`}
      <p class=${one.ends_soon ? "warn" : "about"}>
        ${task.waits_for_input_since
          ? "Your time stands still until your question is answered."
          : `${one.ends_soon ? "Say something of it, or it" : "It"} goes back in ${ticking(left)}.`}
        ${one.cancel_seconds_left !== null && html` <b class="bad">It is being cancelled: stop by then, or finish it.</b>`}
      </p>
    </li>
  `;
}

function Offers({ state, offers, more }) {
  return html`
    <${Panel} id="offers" title="You could take" count=${more ? `${offers.length}+` : offers.length}>
      ${offers.length === 0
        ? html`<${Empty}>Nothing waits that you could do.<//>`
        : html`
            <${Table} label="Tasks that you could take" columns=${OFFERS}>
              ${offers.map((one) => html`<${Offer} key=${one.task.task_id} one=${one} doing=${state.doing} />`)}
            <//>
          `}
    <//>
  `;
}

function Offer({ one, doing }) {
  const { task } = one;
  return html`
    <tr>
      <td class="name" title=${one.why}><${Name} task=${task} /></td>
      <td class="number">${task.priority}</td>
      <td>${task.deadline ? html`<${Moment} at=${task.deadline} />` : "–"}</td>
      <td class="number">${duration(one.eta_seconds)}</td>
      <td class="number">${number(one.price)}</td>
      <td>
        <button type="button" class="primary" disabled=${Boolean(one.obstacle || doing.busy)} onClick=${() => taken(task.task_id)}
          aria-label=${`Take ${task.description || words(task.task_type)}`}>Take</button>
        ${one.obstacle && html` <span class="about">${words(one.obstacle)}</span>`}
      </td>
    </tr>
  `;
}

async function taken(taskId) {
  location.hash = `#/inbox/${encodeURIComponent(taskId)}`;
  await take(taskId);
}

function Questions({ questions, doing }) {
  return html`
    <${Panel} id="questions" title="You are asked" count=${questions.length}>
      <ul class="cards">${questions.map((task) => html`<${Asked} key=${`${task.task_id}/${task.questions}`} task=${task} doing=${doing} />`)}</ul>
    <//>
  `;
}

function Asked({ task, doing }) {
  const id = `answer-${task.task_id}`;
  const submit = (event) => {
    event.preventDefault();
    void answer(task.task_id, task.questions, new FormData(event.currentTarget).get("answer"));
  };
  return html`
    <li>
      <form onSubmit=${submit}>
        <label for=${id}><bdi>${task.question}</bdi> <span class="about">${principal(task.agent_id)}, about ${task.description || words(task.task_type)}</span></label>
        <textarea id=${id} name="answer" rows="2" required maxlength="2000"></textarea>
        <button type="submit" disabled=${Boolean(doing.busy)}>Answer</button>
      </form>
    </li>
  `;
}

// ---- who they say they are

const HOUR_SECONDS = 3600;

function Profile({ state, first }) {
  const { profile, doing } = state;
  const said = profile ?? {};
  const faults = doing.faults.filter((fault) => !fault.pointer.startsWith("/result"));
  const submit = (event) => {
    event.preventDefault();
    void join(read(event.currentTarget, said));
  };
  const paused = profile?.status === "draining";
  return html`
    <${Panel} id="profile" title=${first ? "Begin to work here" : "About you"} trouble=${first || faults.length ? doing.why : ""}>
      <form class="profile" aria-label="What you can do" key=${said.last_event_at ?? "new"} onSubmit=${submit}>
        <label for="skills">Skills</label>
        <input id="skills" name="skills" placeholder="reading, approving" defaultValue=${(said.capabilities ?? []).join(", ")} />
        <label for="slots">Tasks at a time</label>
        <input id="slots" name="slots" type="number" min="1" max="64" required defaultValue=${said.slots ?? 3} />
        <label for="hold">Hours that a task stays with you</label>
        <input id="hold" name="hold" type="number" min="0.1" step="0.1" placeholder="8" defaultValue=${said.lease_seconds ? said.lease_seconds / HOUR_SECONDS : ""} />
        <label for="price">Price of a task</label>
        <input id="price" name="price" type="number" min="0" step="any" required defaultValue=${said.price ?? 0} />
        <label for="region">Region</label>
        <input id="region" name="region" defaultValue=${said.region ?? ""} />
        ${faults.map((fault) => html`<p class="bad" role="alert">${fault.pointer}: ${fault.detail}</p>`)}
        <button type="submit" class="primary" disabled=${Boolean(doing.busy)}>${first ? "Begin" : paused ? "Take tasks again" : "Save"}</button>
        ${!first && !paused && html`<button type="button" disabled=${Boolean(doing.busy)} onClick=${() => void pauseInbox()}>Take nothing new</button>`}
      </form>
    <//>
  `;
}

/** All of the profile: what the form does not show stays as it is. */
function read(form, said) {
  const given = Object.fromEntries(new FormData(form));
  const kept = ["agent_type", "specializations", "skills", "prices", "working_hours", "max_capacity", "description"];
  const profile = Object.fromEntries(kept.filter((name) => said[name] !== undefined).map((name) => [name, said[name]]));
  const capabilities = given.skills.split(",").map((name) => name.trim()).filter(Boolean);
  return {
    ...profile,
    ...(profile.skills && { skills: profile.skills.filter((skill) => capabilities.includes(skill.name)) }),
    capabilities,
    slots: Number(given.slots),
    price: Number(given.price),
    region: given.region.trim(),
    ...(given.hold && { hold_seconds: Number(given.hold) * HOUR_SECONDS }),
  };
}
