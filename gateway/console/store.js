/**
 * What the page knows, and how it stays true: the feed says that something happened, the lists are then asked for anew.
 *
 * Nothing is folded here from events: what a task or an agent is, the node alone decides. Everything kept is bounded.
 */

import { Refusal, ask, clock } from "./api.js";
import { Feed } from "./feed.js";

export const EVENTS_MAX = 500;
const BIDS_MAX = 100;
const BACKLOG = 300; // events shown at first
const RENDER_MILLISECONDS = 250;
const REFRESH_MILLISECONDS = 500;
const STATUS_SECONDS = 5;
export const PAGE = 100;
export const PAGE_MAX = 500;
const STREAM_RECORDS_MAX = 500;
const WAITING = new Set(["submitted", "blocked"]);
const MOMENTS_MAX = 50;
const AGENTS_HEARD_MAX = 2000;
const BID_KINDS = new Set(["task.BidPlaced", "task.BidCommitted", "task.RevealOpened", "task.BidRevealed", "task.BidWithdrawn", "task.BidRefused", "task.BookVoided", "task.TaskAwarded"]);
const LISTS_BY_AGGREGATE = {
  agent: ["agents"],
  task: ["tasks", "agents", "queues", "keys"],
  queue: ["queues"],
  concurrency: ["keys"],
  solve_job: ["solves"],
};

const INBOX = /^#\/inbox(?:\/(.+))?$/;

const NOTHING = () => ({
  position: 0,
  status: null,
  me: null,
  agents: null,
  tasks: null,
  solves: null,
  queues: null,
  keys: null,
  events: [],
  bids: [],
  heardByAgent: new Map(), // when an event last named the agent; its row tells of its own stream alone
  frozen: null, // the events as they were when the reader paused them
  since: 0, // how many came since
  troubles: {},
  detail: null,
  inbox: null, // of who is signed in
  inboxAt: 0, // when it was told
  inboxTask: null,
  noInbox: false, // they have not said yet what they can do
  profile: null,
  doing: { busy: "", why: "", faults: [] },
});

export const state = {
  ...NOTHING(),
  link: "connecting", // or live, lost, signed_out, refused
  why: "",
  ways: null, // how people sign in, asked when nobody is signed in
  acting: new Set(), // the paths of what the reader has asked for and that is not answered yet
  signingIn: { busy: false, why: "" },
  place: null, // { taskId } while the reader is at the inbox
  left: false, // whether somebody has signed out of this page
  heardAt: 0,
  retryAt: 0,
  view: { stage: "", status: "", kind: "", correlation: "", tasksMax: PAGE },
};

// ---- rendering: as often as a reader can follow, at once for what the reader did

let renderer = () => {};
let rendered = 0;
let timer = 0;

export function onChange(render) {
  renderer = render;
}

export function render() {
  clearTimeout(timer);
  timer = 0;
  rendered = Date.now();
  renderer();
}

function changed() {
  if (!timer) timer = setTimeout(render, Math.max(0, rendered + RENDER_MILLISECONDS - Date.now()));
}

/** Changes what the reader looks at. */
export function look(change) {
  Object.assign(state.view, change);
  if ("stage" in change || "tasksMax" in change) refresh("tasks");
  render();
}

// ---- lists: asked for anew when something that they show has happened

const SOURCES = {
  status: { path: () => "/v1/status", take: (answer) => takeStatus(answer) },
  me: { path: () => "/v1/me", take: (answer) => (state.me = answer) },
  agents: { path: () => `/v1/agents?limit=${PAGE_MAX}`, take: (answer) => (state.agents = answer.agents) },
  tasks: { path: tasksPath, take: (answer) => (state.tasks = answer.tasks) },
  solves: { path: () => `/v1/solves?limit=${PAGE}`, take: (answer) => (state.solves = answer.solves) },
  queues: { path: () => "/v1/queues", take: (answer) => (state.queues = answer) },
  keys: { path: () => "/v1/concurrency", take: (answer) => (state.keys = answer) },
  detail: { path: () => detailPath(), take: (answer) => takeDetail(answer) },
  stream: { path: () => streamPath(), take: (answer) => takeStream(answer) },
  why: { path: () => whyPath(), take: (answer) => (state.detail.why = answer) },
  inbox: { path: () => (mayWork() ? `/v1/inbox?limit=${PAGE}` : ""), take: takeInbox, refused: noInbox },
  inboxTask: { path: inboxTaskPath, take: (answer) => (state.inboxTask = answer) },
  inboxProfile: { path: () => (mayWork() && state.place ? "/v1/inbox/profile" : ""), take: (answer) => (state.profile = answer), refused: noInbox },
};

// ---- the inbox of who is signed in

/** Whether who is signed in is a person who may have one. */
export function mayWork() {
  return Boolean(state.me?.user_id && state.me.permissions.includes("inbox:work"));
}

function inboxTaskPath() {
  return mayWork() && state.place?.taskId ? `/v1/inbox/tasks/${encodeURIComponent(state.place.taskId)}` : "";
}

function takeInbox(answer) {
  state.inbox = answer;
  state.inboxAt = clock.now();
  state.noInbox = false;
}

/** That somebody has no inbox is nothing that went wrong. */
function noInbox(error) {
  if (error.code !== "inbox_unknown") return false;
  Object.assign(state, { inbox: null, noInbox: true });
  return true;
}

/** What is left by now of so many seconds that the inbox told of. */
export function leftNow(seconds) {
  return Math.max(0, seconds - (clock.now() - state.inboxAt));
}

const stale = new Set();
let refreshing = false;

function tasksPath() {
  const { stage, tasksMax } = state.view;
  return `/v1/tasks?limit=${tasksMax}${stage ? `&stage=${stage}` : ""}`;
}

function takeStatus(status) {
  const before = state.status?.checkpoint?.origin;
  const now = status.checkpoint?.origin;
  if (before && now && before !== now) restart();
  state.status = status;
}

export function refresh(...names) {
  names.forEach((name) => stale.add(name));
  if (!refreshing) void refreshAll();
}

async function refreshAll() {
  refreshing = true;
  while (stale.size && state.link === "live") {
    const names = [...stale];
    stale.clear();
    await Promise.all(names.map(refreshOne));
    changed();
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MILLISECONDS));
  }
  refreshing = false;
}

async function refreshOne(name) {
  const { path, take } = SOURCES[name];
  const asked = path();
  if (!asked) return;
  try {
    const answer = await ask(asked);
    delete state.troubles[name];
    if (asked === path()) take(answer); // else the reader looks at something else by now
    else stale.add(name);
  } catch (error) {
    if (!(error instanceof Refusal)) stale.add(name); // the node is gone: the feed will say so and come back
    else if (error.status === 401) feed.again();
    else if (asked === path() && !SOURCES[name].refused?.(error)) state.troubles[name] = error.message;
  }
}

// ---- what the reader does

/** Whether whoever is signed in may do this. */
export function may(permission) {
  return Boolean(state.me?.permissions.includes(permission));
}

/** Asks for a change of what `path` names, and then for the list that shows it; a refusal stands above that list. */
export async function act(list, path, verb, wish) {
  if (state.acting.has(path)) return;
  state.acting.add(path);
  render();
  try {
    await ask(path + verb, wish);
    delete state.troubles[list];
    refresh(list);
  } catch (error) {
    state.troubles[list] = error instanceof Refusal ? error.message : "The node does not answer.";
  }
  state.acting.delete(path);
  render();
}

// ---- what the reader looks at more closely

const DETAIL_PATHS = {
  tasks: (id) => `/v1/tasks/${encodeURIComponent(id)}`,
  agents: (id) => `/v1/agents/${encodeURIComponent(id)}`,
  solves: (id) => `/v1/solves/${encodeURIComponent(id)}`,
};
const STREAMS = {
  tasks: (id) => `task-${id}`,
  solves: (id) => `solve_job-${id}`,
};

function detailPath() {
  const detail = state.detail;
  if (!detail) return "";
  if (detail.kind !== "events") return DETAIL_PATHS[detail.kind](detail.id);
  return `/v1/log?after=${Math.max(0, Number(detail.id) - 1)}&limit=1`;
}

/** A stream from the log; an agent's moments, since what was taken from it stands in the streams of tasks. */
function streamPath() {
  if (state.detail?.kind === "agents") return `/v1/agents/${encodeURIComponent(state.detail.id)}/timeline?limit=${MOMENTS_MAX}`;
  const stream = state.detail && STREAMS[state.detail.kind]?.(state.detail.id);
  return stream ? `/v1/log?stream=${encodeURIComponent(stream)}&limit=${STREAM_RECORDS_MAX}` : "";
}

function whyPath() {
  const detail = state.detail;
  return detail?.kind === "tasks" ? `${DETAIL_PATHS.tasks(detail.id)}/explain?limit=${PAGE}` : "";
}

/** What happens to others moves a task that waits. */
function waits() {
  return WAITING.has(state.detail?.row?.stage);
}

function takeDetail(answer) {
  const detail = state.detail;
  if (detail.kind === "events") {
    const found = answer.records[0];
    if (found?.position === Number(detail.id)) detail.row = found;
    else state.troubles.detail = `position ${detail.id} holds nothing that you may see`;
    return;
  }
  detail.row = answer;
}

function takeStream(answer) {
  state.detail.records = answer.records ?? answer.moments;
}

/** Shows what a link names, `#/tasks/ID`, and closes it with any other hash. */
export function follow(hash) {
  const [, kind, id] = /^#\/(tasks|agents|solves|events)\/(.+)$/.exec(hash) ?? [];
  delete state.troubles.detail;
  delete state.troubles.stream;
  delete state.troubles.why;
  const inbox = INBOX.exec(hash);
  if (inbox) {
    const taskId = inbox[1] === undefined ? "" : decoded(inbox[1]);
    if (taskId !== state.place?.taskId) Object.assign(state, { inboxTask: null, doing: { busy: "", why: "", faults: [] } });
    delete state.troubles.inboxTask;
    Object.assign(state, { place: { taskId }, detail: null });
    refresh("inbox", "inboxTask", "inboxProfile");
    render();
    return;
  }
  state.place = null;
  if (!kind || (kind === "events" && !/^\d{1,15}$/.test(id))) {
    state.detail = null;
  } else {
    state.detail = { kind, id: decoded(id), row: null, records: null, why: null };
    if (kind === "events") state.detail.row = state.events.find((event) => event.position === Number(id)) ?? null;
    refresh("detail", "stream", "why");
  }
  render();
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// ---- the feed

const hear = {
  async before() {
    const status = await ask("/v1/status");
    takeStatus(status);
    if (status.position < state.position) restart(); // an older copy of the log was restored
    return Math.max(state.position, status.position - (state.position ? EVENTS_MAX : BACKLOG), 0);
  },
  open() {
    state.link = "live";
    state.why = "";
    clock.stoppedAt = 0;
    hear.heard();
    state.left = false;
    refresh("status", "me", "agents", "tasks", "solves", "queues", "keys", "detail", "stream", "why");
    void askInbox();
  },
  heard() {
    state.heardAt = Date.now();
    changed();
  },
  position(position) {
    state.position = Math.max(state.position, position);
  },
  record(record) {
    if (record.position <= state.position) return;
    state.position = record.position;
    keep(record);
    const aggregate = record.kind.slice(0, record.kind.indexOf("."));
    const lists = LISTS_BY_AGGREGATE[aggregate] ?? [];
    const concerned = concernsDetail(record) ? ["detail", "stream", "why"] : lists.includes("agents") && waits() ? ["why"] : [];
    refresh("status", ...lists, ...concerned, ...(state.place && lists.length ? ["inbox", "inboxTask"] : []));
  },
  closed(error, seconds) {
    const status = error instanceof Refusal ? error.status : 0;
    if (status === 401 && state.link !== "signed_out") void askWays();
    state.link = status === 401 ? "signed_out" : status === 403 ? "refused" : "lost";
    state.why = error.message;
    clock.stoppedAt = state.heardAt;
    state.retryAt = Date.now() + seconds * 1000;
    if (state.link === "signed_out") restart(); // whoever signs in next may be somebody else
    changed();
  },
};
const feed = new Feed(hear);

/** Once it is known who is signed in. */
async function askInbox() {
  await refreshOne("me");
  refresh("inbox", "inboxTask", "inboxProfile");
}

function keep(record) {
  state.events.push(record);
  if (state.events.length > EVENTS_MAX) state.events.splice(0, state.events.length - EVENTS_MAX);
  if (state.frozen) state.since += 1;
  hearAgent(record);
  if (!BID_KINDS.has(record.kind)) return;
  state.bids.push(record);
  if (state.bids.length > BIDS_MAX) state.bids.splice(0, state.bids.length - BIDS_MAX);
}

function hearAgent({ data, at }) {
  if (!data.agent_id) return;
  const heard = state.heardByAgent;
  heard.delete(data.agent_id);
  heard.set(data.agent_id, at);
  if (heard.size > AGENTS_HEARD_MAX) heard.delete(heard.keys().next().value);
}

function concernsDetail(record) {
  const { kind, id } = state.detail ?? {};
  if (kind === "tasks") return record.data.task_id === id;
  if (kind === "agents") return record.data.agent_id === id;
  return kind === "solves" && record.data.job_id === id;
}

/** Forgets everything but what the reader looks at: the log is another one, or another reader's. */
function restart() {
  const { detail } = state;
  Object.assign(state, NOTHING());
  if (detail) state.detail = { ...detail, row: null, records: null, why: null };
}

export function retry() {
  feed.retry();
}

export function pause(paused) {
  state.frozen = paused ? [...state.events] : null;
  state.since = 0;
  render();
}

async function askWays() {
  state.signingIn = { busy: false, why: "" };
  state.ways = await ask("/session/ways").catch(() => state.ways);
  changed();
}

export async function signIn(given) {
  state.signingIn = { busy: true, why: "" };
  render();
  try {
    await ask("/session/password", { method: "POST", body: given });
    state.signingIn = { busy: false, why: "" };
    feed.again();
  } catch (error) {
    state.signingIn = { busy: false, why: error instanceof Refusal ? error.message : "The node does not answer." };
  }
  render();
}

export async function signOut() {
  state.left = true;
  await ask("/session", { method: "DELETE" }).catch(() => {});
  feed.again();
}

/** Seconds since the node was last heard. */
export function silence() {
  return state.heardAt ? Math.max(0, (Date.now() - state.heardAt) / 1000) : 0;
}

export function start() {
  addEventListener("hashchange", () => follow(location.hash));
  addEventListener("online", retry);
  addEventListener("offline", () => feed.again()); // a dead connection looks like a quiet one: ask now
  addEventListener("focus", () => state.link !== "live" && retry());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && state.link !== "live" && retry());
  setInterval(changed, 1000); // ages grow
  setInterval(() => refresh("status"), STATUS_SECONDS * 1000);
  follow(location.hash);
  void feed.run();
}
