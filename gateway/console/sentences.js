/** What an event says in one line. A kind that is not known here is told by its fields, so that a newer node is still readable. */

import { duration, number, percent, short, words } from "./format.js";

const SENTENCE_BY_KIND = {
  "agent.AgentRegistered": (d) => `${d.name} offers ${d.capabilities.join(", ") || "no skills"}`,
  "agent.AgentUpdated": (d) => `${d.name} offers ${d.capabilities.join(", ") || "no skills"}, ${d.slots} slots`,
  "agent.AgentDraining": (d) => `${short(d.agent_id)} takes no new tasks${because(d.reason)}`,
  "agent.AgentDeregistered": (d) => `${short(d.agent_id)} left${because(d.reason)}`,
  "agent.AgentSuspected": (d) => `${short(d.agent_id)} was not heard from for ${duration(d.silent_seconds)}`,
  "agent.AgentCleared": (d) => `${short(d.agent_id)} was heard again in time`,
  "agent.AgentLost": (d) => `${short(d.agent_id)} was not heard from for its whole lease`,
  "agent.AgentReturned": (d) => `${short(d.agent_id)} is back, generation ${d.generation}`,
  "key.KeyIssued": (d) => `${words(d.role)} key${d.agent_id ? ` of ${short(d.agent_id)}` : ""}${d.label ? `: ${d.label}` : ""}`,
  "key.KeyRevoked": (d) => `${short(d.key_id)} opens nothing any more${because(d.reason)}`,
  "user.UserRegistered": (d) => `${words(d.role)}${d.username ? `: ${d.username}` : ""}`,
  "user.UserChanged": (d) => `${short(d.user_id)}${d.role ? ` is ${words(d.role)} now` : " is told of in another way"}`,
  "user.UserDisabled": (d) => `${short(d.user_id)} is let in no more${because(d.reason)}`,
  "user.UserEnabled": (d) => `${short(d.user_id)} is let in again`,
  "user.UserRemoved": (d) => `${short(d.user_id)} has left${because(d.reason)}`,
  "session.SessionOpened": (d) => `${short(d.user_id || d.key_id)} signed in by ${d.way}`,
  "session.SessionEnded": (d) => `${short(d.session_id)} is over${because(d.reason)}`,
  "lockout.SignInLocked": (d) => `passwords of one ${d.scope} are not looked at after ${d.failures} wrong ones`,
  "revocation.TokensRevoked": (d) => `${d.kind === "token" ? "one token" : "all tokens"} of ${short(d.target)} revoked${because(d.reason)}`,
  "journal_key.KeyRotated": (d) => `another key signs the journal${because(d.reason)}`,
  "task.TaskSubmitted": (d) => `${words(d.task_type)}, priority ${d.priority}${d.description ? `: ${d.description}` : ""}`,
  "task_type.SchemasSet": (d) => `${words(d.task_type)} goes by version ${d.version} of its schemas`,
  "task_type.SchemasDropped": (d) => `${words(d.task_type)} goes by no schemas any more${because(d.reason)}`,
  "task.DependencyMet": (d) => `${short(d.dependency)} is complete`,
  "task.DependencyUnmet": (d) => `${short(d.dependency)} is ${words(d.stage)}; it runs without that`,
  "task.TaskUnblocked": () => "it waits for no dependency any more",
  "task.BookOpened": (d) => `round ${d.round}: ${d.eligible.length} ${d.eligible.length === 1 ? "agent" : "agents"} called${d.widening ? `, widened ${d.widening === 1 ? "once" : `${d.widening} times`}` : ""}`,
  "task.BidPlaced": (d) => `${short(d.agent_id)} asks ${number(d.price)}, ${duration(d.eta_seconds)}, ${percent(d.confidence)} sure`,
  "task.BidCommitted": (d) => `${short(d.agent_id)} commits to a sealed bid`,
  "task.RevealOpened": (d) => `round ${d.round}: ${d.committed.length} sealed ${d.committed.length === 1 ? "bid is" : "bids are"} to be opened`,
  "task.BidRevealed": (d) => `${short(d.agent_id)} opens its bid${d.matches ? "" : ": not the one that it committed to"}`,
  "task.BidWithdrawn": (d) => `${short(d.agent_id)} takes its bid back`,
  "task.BidRefused": (d) => `${short(d.agent_id)} will not bid${because(d.reason)}`,
  "task.BookVoided": (d) => `round ${d.round} found no winner: ${words(d.reason)}`,
  "task.TaskAwarded": (d) => d.assigned_by ? `${short(d.agent_id)} is given it without bids` : `${short(d.agent_id)} wins: ${d.reason.replace(`${d.agent_id} `, "")}`,
  "task.DryRunEnded": (d) => d.winner ? `${short(d.winner)} would have won: ${d.reason.replace(`${d.winner} `, "")}` : `nobody would have won: ${words(d.reason)}`,
  "task.TaskStarted": (d) => `${short(d.agent_id)} has begun, token ${d.token}`,
  "task.TaskCompleted": (d) => `${short(d.agent_id)} is done after ${duration(d.seconds)}${d.charged == null ? "" : `, charges ${number(d.charged)}`}`,
  "task.TaskFailed": (d) => `${d.agent_id ? `${short(d.agent_id)} ${d.attempts_max ? "gives it back" : d.declined ? "declines" : "failed"}` : "failed"}${because(d.reason)}${d.final ? "" : "; it is offered again"}`,
  "task.QuestionAsked": (d) => `${short(d.agent_id)} asks${d.question ? `: ${d.question}` : " a question"}`,
  "task.QuestionAnswered": (d) => `${d.answered_by || "somebody"} answers${d.answer ? `: ${d.answer}` : ""}`,
  "task.TaskProgressed": (d) => `${short(d.agent_id)} is ${percent(d.share)} through${because(d.note)}`,
  "task.OfferDeclined": (d) => `${short(d.agent_id)} will not take it${because(d.reason)}`,
  "task.LeaseExpired": (d) => `${short(d.agent_id)} lost its lease, token ${d.token}`,
  "task.TaskRebalanced": (d) => `${short(d.agent_id)} gives way, token ${d.token}: ${short(d.better)} would be better, ${number(d.better_score)} to ${number(d.score)}`,
  "task.LateReported": (d) => `${short(d.agent_id)} reported too late, token ${d.token}${d.count > 1 ? `, ${d.count} times` : ""}`,
  "task.TaskReopened": (d) => `attempt ${d.attempt}${because(d.reason)}`,
  "task.TaskDeadLettered": (d) => `given up${because(d.reason)}`,
  "task.CancelRequested": (d) => `${short(d.agent_id)} is to stop, token ${d.token}${because(d.reason)}`,
  "task.TaskCancelled": (d) => `cancelled${because(d.reason)}`,
  "task.TaskExpired": () => "its deadline has passed",
  "concurrency.ConcurrencySet": (d) => `${d.limit} of ${d.key} at a time: ${words(d.strategy)}`,
  "concurrency.ConcurrencyDropped": (d) => `${d.key} has the limits that its tasks ask for`,
  "queue.QueuePaused": (d) => `nobody is called for tasks of ${d.queue}${because(d.reason)}`,
  "queue.QueueResumed": (d) => `tasks of ${d.queue} are given out again`,
  "qubo_problem.ProblemRegistered": (d) => `${d.name}: ${number(d.variables)} variables, ${number(d.couplings)} couplings`,
  "solve_job.SolveQueued": (d) => `${d.problem.name} for ${duration(d.seconds)}`,
  "solve_job.BackendDegraded": (d) => `it runs on ${words(d.backend)} instead${because(d.reason)}`,
  "solve_job.SolveStarted": (d) => `start ${d.start}`,
  "solve_job.SolvePlanned": (d) => `${words(d.algorithm)} for ${number(d.features.variables)} variables and ${number(d.features.couplings)} couplings`,
  "solve_job.SolveProgressed": (d) => `best ${number(d.value)} after ${duration(d.seconds)}`,
  "solve_job.SolveCompleted": (d) => `${number(d.value)} by ${words(d.algorithm)} in ${duration(d.seconds)}`,
  "solve_job.SolveFailed": (d) => `failed${because(d.reason)}`,
  "solve_job.SolveCancelled": (d) => `cancelled${because(d.reason)}`,
};
const SENTENCE_CHARACTERS_MAX = 240;

function because(reason) {
  return reason ? `: ${words(reason)}` : "";
}

export function sentence(record) {
  return clipped(told(record));
}

function told(record) {
  try {
    const tell = SENTENCE_BY_KIND[record.kind];
    if (tell) return tell(record.data);
  } catch {
    // an older or newer shape of the event: its fields say the rest
  }
  return JSON.stringify(record.data);
}

function clipped(text) {
  return text.length > SENTENCE_CHARACTERS_MAX ? `${text.slice(0, SENTENCE_CHARACTERS_MAX)}…` : text;
}

/** What kind of news it is, for its color: good, bad, work, bid or plain. */
export function tone(kind) {
  const name = kind.slice(kind.indexOf(".") + 1);
  if (/Completed|Returned|Cleared/.test(name)) return "good";
  if (/Failed|Late|Lost|Expired|DeadLettered|Revoked|Voided/.test(name)) return "bad";
  if (/Cancel|Reopened|Suspected|Draining|Deregistered|Withdrawn|Refused|Degraded/.test(name)) return "warn";
  if (/Awarded|Started|Progressed/.test(name)) return "work";
  if (/Bid|Book/.test(name)) return "bid";
  return "plain";
}
