/** What a person does from their inbox: each act is one request in their own name, told to the page with all that was wrong with it. */

import { Refusal, ask } from "./api.js";
import { refresh, render, state } from "./store.js";

/** Does it, and shows what came of it. `name` says which button is busy; whether it was done is the answer. */
async function act(name, path, method, body) {
  if (state.doing.busy) return false;
  state.doing = { busy: name, why: "", faults: [] };
  render();
  let done = true;
  try {
    await ask(path, { method, body });
    state.doing = { busy: "", why: "", faults: [] };
  } catch (error) {
    done = false;
    const refused = error instanceof Refusal;
    state.doing = { busy: "", why: refused ? error.message : "The node does not answer.", faults: refused ? error.faults : [] };
  }
  refresh("inbox", "inboxTask", "inboxProfile");
  render();
  return done;
}

function of(taskId) {
  return `/v1/inbox/tasks/${encodeURIComponent(taskId)}`;
}

export const take = (taskId) => act("take", `${of(taskId)}/take`, "POST", {});
export const decline = (taskId, reason) => act("decline", `${of(taskId)}/decline`, "POST", { reason });
export const report = (taskId, token, status, more = {}) => act(status, `${of(taskId)}/status`, "PUT", { status, token, ...more });
export const progress = (taskId, token, share, note) => act("progress", `${of(taskId)}/progress`, "POST", { token, share, note });
export const question = (taskId, token, text) => act("ask", `${of(taskId)}/questions`, "POST", { token, question: text });
export const join = (profile) => act("join", "/v1/inbox/profile", "PUT", profile);
export const pauseInbox = () => act("pause", "/v1/inbox/profile/pause", "POST", {});

export function answer(taskId, number, text) {
  return act("answer", `/v1/tasks/${encodeURIComponent(taskId)}/questions/${number}/answer`, "PUT", { answer: text });
}
