/** One task of the inbox: what came in, the form to fill in, and all that its holder can say of it. */

import { html } from "../vendor/htm-preact.js";
import { duration, number, principal, ticking, words } from "../format.js";
import { decline, progress, question, report, take } from "../inbox.js";
import { leftNow } from "../store.js";
import { Moment, Panel, Stage } from "./common.js";
import { Document, Fields } from "./fields.js";
import { SchemaFields, filledIn } from "./schema_form.js";

export function InboxTask({ state }) {
  const told = state.inboxTask;
  const trouble = state.troubles.inboxTask || state.doing.why;
  const close = html`<a class="button" href="#/inbox">Close</a>`;
  if (!told) return html`<${Panel} id="inbox-task" title="Task" tools=${close} trouble=${trouble} />`;
  const { task, offer, held } = told;
  return html`
    <${Panel} id="inbox-task" title=${task.description || words(task.task_type)} tools=${close} trouble=${trouble}>
      <${Fields}
        pairs=${[
          ["Stage", html`<${Stage} stage=${task.stage} />`],
          ["Type", words(task.task_type)],
          ["Priority", task.priority],
          ["Deadline", task.deadline && html`<${Moment} at=${task.deadline} />`],
          ["From", html`<bdi>${principal(task.submitted_by)}</bdi>`],
          ["Why you see it", offer?.why],
          ["Price", offer && number(offer.price)],
          ["Goes back in", held && !task.waits_for_input_since && ticking(leftNow(held.seconds_left))],
          ["You asked", held && task.question && html`<bdi>${task.question}</bdi>`],
          ["Answer", held && task.answer && html`<bdi id="answer">${task.answer}</bdi>`],
        ]}
      />
      <${Document} title="What came in" value=${task.payload} open=${true} />
      <${Document} title="Requirements" value=${task.requirements} />
      ${held && html`<${Working} key=${held.token} task=${task} held=${held} form=${told.form} doing=${state.doing} />`}
      ${!held && offer && html`<${Offered} task=${task} offer=${offer} doing=${state.doing} />`}
      ${!held && !offer && html`<p class="note">It is ${words(task.stage)}, and nothing that you could do anything about.</p>`}
    <//>
  `;
}

function Offered({ task, offer, doing }) {
  if (offer.closes_at) return html`<p class="note">You have asked for it; others were asked, too, until <${Moment} at=${offer.closes_at} />.</p>`;
  const submit = (event) => {
    event.preventDefault();
    void decline(task.task_id, new FormData(event.currentTarget).get("reason"));
  };
  return html`
    <div class="acts">
      <button type="button" class="primary" disabled=${Boolean(offer.obstacle || doing.busy)} onClick=${() => void take(task.task_id)}>
        Take it, for ${duration(offer.eta_seconds)}
      </button>
      ${offer.obstacle && html`<span class="about">${words(offer.obstacle)}</span>`}
    </div>
    <details class="document">
      <summary>Not for me</summary>
      <form class="acts" onSubmit=${submit}>
        <label for="decline-reason">Why</label>
        <input id="decline-reason" name="reason" maxlength="2000" />
        <button type="submit" disabled=${Boolean(doing.busy)}>Decline</button>
      </form>
    </details>
  `;
}

function Working({ task, held, form, doing }) {
  const busy = Boolean(doing.busy);
  const say = (status, more) => void report(task.task_id, held.token, status, more);
  return html`
    ${task.stage === "awarded" && html`<div class="acts"><button type="button" disabled=${busy} onClick=${() => say("started")}>Begin</button></div>`}
    <${Finish} task=${task} held=${held} schema=${form?.result} doing=${doing} />
    <${Said} title="Ask about it" label="Question" button="Ask" busy=${busy || Boolean(task.waits_for_input_since)}
      say=${(text) => void question(task.task_id, held.token, text)} />
    <${Far} task=${task} held=${held} busy=${busy} />
    <${Said} title="Give it back" label="Why" button="Give back" busy=${busy} optional=${true} say=${(reason) => say("released", { reason })} />
    <${Said} title="It can't be done" label="Why" button="Fail" busy=${busy} say=${(reason) => say("failed", { reason })} />
  `;
}

function Finish({ task, held, schema, doing }) {
  const faults = doing.faults;
  const submit = (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    let result;
    try {
      result = filledIn(form, schema, "/result");
    } catch (error) {
      complain(form, error);
      return;
    }
    void report(task.task_id, held.token, "completed", { result: result ?? {} }).then((done) => {
      if (!done) requestAnimationFrame(() => form.querySelector("[aria-invalid='true']")?.focus());
    });
  };
  return html`
    <form id="result" class="stacked" aria-label="Result" onSubmit=${submit}>
      <${SchemaFields} schema=${schema} pointer="/result" faults=${faults} id="form" />
      <button type="submit" class="primary" disabled=${Boolean(doing.busy)}>Finish</button>
    </form>
  `;
}

/** Says of the first field that holds no JSON that it does not: the browser shows it by the field. */
function complain(form, error) {
  for (const field of form.querySelectorAll("textarea.code")) {
    try {
      if (field.value.trim()) JSON.parse(field.value);
    } catch {
      field.setCustomValidity(`This is no JSON: ${error.message}`);
      field.reportValidity();
      field.addEventListener("input", () => field.setCustomValidity(""), { once: true });
      return;
    }
  }
}

function Far({ task, held, busy }) {
  const submit = (event) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    void progress(task.task_id, held.token, Number(given.get("share")) / 100, given.get("note"));
  };
  return html`
    <details class="document">
      <summary>How far it is</summary>
      <form class="acts" onSubmit=${submit}>
        <label for="share">Percent</label>
        <input id="share" name="share" type="number" min="0" max="100" required defaultValue=${Math.round((task.progress ?? 0) * 100)} />
        <label for="note">Note</label>
        <input id="note" name="note" maxlength="2000" />
        <button type="submit" disabled=${busy}>Tell</button>
      </form>
    </details>
  `;
}

function Said({ title, label, button, busy, say, optional = false }) {
  const id = `say-${button.toLowerCase().replaceAll(" ", "-")}`;
  const submit = (event) => {
    event.preventDefault();
    say(new FormData(event.currentTarget).get("text"));
    event.currentTarget.reset();
  };
  return html`
    <details class="document">
      <summary>${title}</summary>
      <form class="acts" onSubmit=${submit}>
        <label for=${id}>${label}</label>
        <input id=${id} name="text" required=${!optional} maxlength="2000" />
        <button type="submit" disabled=${busy}>${button}</button>
      </form>
    </details>
  `;
}
