"""The catalogue of problem codes: what each means and what to do about it. `python -m gateway.api.problem_codes` writes its page.

The code is the last part of a problem document's `type`, `urn:gavel:problem:CODE`. A test holds the catalogue against the code of
the project: what is raised is listed, and what is listed is raised.
"""

import sys
from typing import NamedTuple

from gateway.api.problems import title_of

URN = "urn:gavel:problem:"


class Code(NamedTuple):
    """A problem code: the statuses that it comes with, what has happened, and what the caller can do."""

    name: str
    statuses: tuple[int, ...]
    meaning: str
    remedy: str

    @property
    def title(self) -> str:
        """The `title` of its documents."""
        return title_of(self.name, self.statuses[0])


class Part(NamedTuple):
    """Codes that belong together."""

    heading: str
    codes: tuple[Code, ...]


REQUESTS = Part(
    "Any request",
    (
        Code(
            "bad_request", (400,), "The request's head or framing is not what HTTP or this route takes.",
            "Read `detail`, correct the request.",
        ),
        Code(
            "header_invalid", (400,), "A header is missing or is not what it must be; parameters that are wrong too stand beside it.",
            "`errors` names each by `header` or `parameter`.",
        ),
        Code(
            "too_many_requests", (429,), "More was asked than the rates allow, or than one may have under way at once.",
            "Wait as long as `Retry-After` says; `RateLimit` tells how you stand.",
        ),
        Code(
            "resource_changed", (412,), "What the tag in If-Match shows has changed since, or If-None-Match found something.",
            "GET it again, look at what is different, and send the write with the new tag.",
        ),
        Code(
            "not_tried", (424,), "A part of the batch before this one failed, and `on_error` is `stop`.",
            "Mend that one, send the rest again.",
        ),
        Code(
            "batch_answer_full", (507,), "The results of a batch have come to as much as one answer may hold.",
            "Send what is left in another batch.",
        ),
        Code("body_unreadable", (400,), "The body is not JSON, or not msgpack.", "Send what the Content-Type says, in UTF-8."),
        Code("body_incomplete", (400,), "The connection ended before the body did.", "Send it again."),
        Code(
            "unauthorized", (401,), "No key was sent, or it opens nothing.",
            "Send `Authorization: Bearer KEY`; ask an admin for a key if yours was revoked or has expired.",
        ),
        Code(
            "forbidden", (403,), "The key is good, but not for this.",
            "Use a key of one of the roles that the operation names; an agent's own key is good for that agent alone.",
        ),
        Code(
            "not_found", (404,), "There is no such thing, or it is another tenant's: the two look the same.",
            "Check the path and the id.",
        ),
        Code("method_not_allowed", (405,), "The path takes other methods.", "The header `Allow` names them."),
        Code(
            "request_timeout", (408,), "The body did not arrive in time.",
            "Send it again, faster; bring large files in pieces by /v1/blobs/uploads.",
        ),
        Code(
            "conflict", (409,), "Somebody else wrote what this request relied on, or the thing can't be done to itself.",
            "Read again, then try again.",
        ),
        Code(
            "journal_differs", (409,), "A position or the header Gavel-Journal names another journal than the caller's.",
            "Use positions only with keys of the journal that they came from.",
        ),
        Code(
            "tenant_differs", (403,), "The header X-Tenant-ID names another tenant than the key's.",
            "Use a key of that tenant, or leave the header out.",
        ),
        Code(
            "not_served", (501,), "An older path that nothing answers yet.", "`detail` names what comes nearest to it; see aliases.md.",
        ),
        Code(
            "request_entity_too_large", (413,), "The body is longer than is taken.",
            "`detail` says how much is; large values go by /v1/blobs.",
        ),
        Code(
            "unsupported_media_type", (415,), "The Content-Type is not one that the operation takes, or the body is compressed.",
            "Send one of the types that the operation lists, uncompressed.",
        ),
        Code("requested_range_not_satisfiable", (416,), "The Range header names no part of the blob.", "Ask for a part within its length."),
        Code(
            "body_invalid", (422,), "The body can be read, and something in it is wrong.",
            "`errors` names each fault by its JSON pointer: correct all of them.",
        ),
        Code(
            "query_invalid", (422,), "A parameter of the query is unknown, stands twice, or is not what it must be.",
            "`errors` names each by `parameter`.",
        ),
        Code("unprocessable_entity", (422,), "What was sent can't be used.", "Read `detail`."),
        Code(
            "as_of_ahead", (422,), "`as_of` is past the end of the log.",
            "Ask for a position that is there.",
        ),
        Code(
            "position_ahead", (422,), "The log has not come so far.",
            "Use a position that is told; where the node was restored from a backup, those from before may be gone.",
        ),
        Code(
            "position_unknown", (422,), "A socket's `after` is no position of this journal.",
            "Come back with a position that this journal has told.",
        ),
        Code(
            "key_reused", (422,), "The Idempotency-Key was used for another request.",
            "Make a new key for each thing that is to be done once.",
        ),
        Code(
            "request_erased", (410,), "It was answered under this Idempotency-Key, and the person was erased since of whom it told.",
            "Nothing: it was done, and what it told is gone.",
        ),
        Code(
            "upgrade_required", (426,), "The handshake is of another version of websockets.",
            "Send `Sec-WebSocket-Version: 13`, as the answer's header of that name says.",
        ),
        Code("request_header_fields_too_large", (431,), "The head of the request is too long.", "Send fewer or shorter headers."),
        Code(
            "crashed", (500,), "The server failed; this is a fault of ours.",
            "Give `error_id` to the operator: the log has the rest under it.",
        ),
        Code(
            "internal_server_error", (500,), "What stands on the disk can't be read as it should.",
            "Tell the operator; `gavel audit verify` judges the journal.",
        ),
        Code("not_implemented", (501,), "The request asks for something of HTTP that is not spoken here.", "Send plain HTTP/1.1."),
        Code("http_version_not_supported", (505,), "The request is of another version of HTTP.", "Send HTTP/1.1."),
        Code(
            "overloaded", (503,), "There is no room now; nothing was recorded.",
            "Come again after `Retry-After` seconds, with the same Idempotency-Key.",
        ),
        Code(
            "not_answered", (503,), "The answer took too long. `begun` tells whether the work goes on and will be recorded.",
            "Ask again with the same Idempotency-Key: it is done once.",
        ),
        Code("unreachable", (503,), "Whoever answers this is stopped or starting.", "Come again after `Retry-After` seconds."),
        Code(
            "journal_unreadable", (503,), "The database is away or busy; nothing of what was recorded is lost.",
            "Come again after `Retry-After` seconds.",
        ),
        Code(
            "service_unavailable", (503,), "More is served at once than there is room for, or a part of the node can't do its work.",
            "Come again after `Retry-After` seconds.",
        ),
        Code(
            "not_ready", (503,), "The node lives but does not do its work yet, or not any more.",
            "`detail` names what is wrong; watch /readyz.",
        ),
        Code(
            "no_room", (507,), "The disk has less room than is kept for work that has begun; nothing was recorded.",
            "Tell the operator; come again after `Retry-After` seconds.",
        ),
        Code("insufficient_storage", (507,), "The bytes could not be written or sealed.", "Tell the operator."),
        Code("failure", (599,), "A failure that HTTP has no name for.", "Read `detail`."),
    ),
)  # fmt: skip
AGENTS = Part(
    "Agents",
    (
        Code(
            "agent_exists", (409,), "An agent of this id is registered.",
            "Update it, deregister it first, or send the same Idempotency-Key again to get the first answer.",
        ),
        Code("agent_id_reserved", (422,), "Ids that begin with `house-` are the node's own.", "Choose another id, or none."),
        Code(
            "prices_unlisted", (422,), "`prices` names something that is neither a task type nor one of the `capabilities`.",
            "Name it among the capabilities too, or leave its price out.",
        ),
        Code(
            "working_hours_unfit", (422,), "A shift ends before it begins, or this node knows no such time zone.",
            "`errors` names each. What goes past midnight is two shifts; zones are named as in the IANA's list.",
        ),
        Code(
            "heartbeat_timeout_unfit", (422,), "The lease that the agent asks for is shorter or longer than the operator allows.",
            "`detail` says what is allowed.",
        ),
        Code(
            "capacity_too_large", (422,), "The agent says that it holds more units than any agent may.",
            "`detail` says how many it may say; a task takes no more.",
        ),
        Code(
            "skills_unlisted", (422,), "`skills` says more of something that is none of the `capabilities`.",
            "Name it among the capabilities too, or leave it out.",
        ),
        Code("agent_unknown", (404,), "There is no such agent.", "Register it."),
        Code("agent_is_deregistered", (409,), "The agent has left.", "Register it again."),
        Code("agent_is_lost", (409,), "The agent was silent for a whole lease and has lost what it held.", "Register it again."),
        Code("agents_too_many", (409,), "The tenant has as many agents as it may.", "Deregister some."),
    ),
)  # fmt: skip
TASKS = Part(
    "Tasks and bids",
    (
        Code("task_exists", (409,), "The id is another task's.", "Submit it under a new Idempotency-Key."),
        Code("task_unknown", (404,), "There is no such task, or it is another tenant's.", "Check the id."),
        Code("task_is_submitted", (409,), "The task has only been submitted.", "Wait for its call for bids."),
        Code("task_is_blocked", (409,), "The task waits for others that it depends on.", "Wait for its call for bids."),
        Code("task_is_bidding", (409,), "The task is offered and nobody holds it.", "Bid for it."),
        Code("task_is_awarded", (409,), "The task is awarded and not begun.", "Say `started` first."),
        Code("task_is_running", (409,), "The task has begun.", "Report its end."),
        Code("task_is_completed", (409,), "The task is done.", "Nothing: read its result."),
        Code("task_is_failed", (409,), "The task has failed for good.", "Submit it anew if it is still wanted."),
        Code("task_is_cancelled", (409,), "The task was cancelled.", "Submit it anew if it is still wanted."),
        Code("task_is_expired", (409,), "The task's deadline has passed.", "Submit it anew with a later deadline."),
        Code("task_is_dry_run_ended", (409,), "The task was a dry run, which has ended.", "Nothing: read who would have won."),
        Code("dry_run_in_batch", (422,), "A dry run can't be settled together with other tasks.", "Name another policy."),
        Code("task_is_dry_run", (409,), "The task is a dry run: nobody is given it.", "Submit it without `dry_run`."),
        Code(
            "task_is_dead_lettered", (409,), "No agent could be found for the task, or all attempts are used up.",
            "Read its `reason`, then have it offered again: `POST /v1/tasks/{task_id}/requeue`.",
        ),
        Code("concurrency_keys_too_many", (409,), "As many keys of the tenant have limits as may.", "Drop some."),
        Code("queues_too_many", (409,), "As many queues of the tenant are paused as may be.", "Resume some."),
        Code("not_a_dead_letter", (409,), "Only a dead letter can be offered again.", "Read its `stage`."),
        Code(
            "tasks_unfit", (422,), "Something is wrong with some of many tasks, or with how they depend on each other.",
            "Mend what `errors` names; nothing was recorded.",
        ),
        Code("ref_taken", (422,), "Two of many tasks have one `ref`.", "Give each another one, or none."),
        Code("dependency_unknown", (422,), "A task that it depends on is unknown.", "Submit that one first."),
        Code("dependency_cycle", (422,), "The task depends on itself, if only by way of others.", "Leave one of these dependencies out."),
        Code("dependency_failed", (422,), "A task that it depends on has ended without a result.", "Submit that one anew first."),
        Code("independence_unclear", (422,), "`independent_of` names a task that is no dependency.", "Name it in `dependencies` too."),
        Code(
            "skill_unknown", (422,), "No agent has ever offered one of the capabilities.",
            "Register an agent that does, or ask for other capabilities.",
        ),
        Code(
            "deadline_passed", (409, 422), "The deadline has passed.",
            "Submit with a later one; a result that comes too late is not taken.",
        ),
        Code(
            "moment_out_of_range", (422,), "A time that is written as a moment lies before 1970 or past 2999.",
            "Name one in between, or leave it out.",
        ),
        Code("not_before_late", (422,), "`not_before` is no earlier than the deadline.", "Let it begin earlier, or end later."),
        Code(
            "deadline_infeasible", (422,), "Begun at once, or at `not_before`, it would take until after the deadline.",
            "Give a later deadline, or a shorter `estimated_duration`.",
        ),
        Code("budget_too_long", (422,), "`budget_seconds` is more than the node allows.", "`detail` says what is allowed."),
        Code("bidding_too_long", (422,), "`bidding_seconds` is more than the node allows.", "`detail` says what is allowed."),
        Code("attempts_too_many", (422,), "`attempts_max` is more than the node allows.", "`detail` says what is allowed."),
        Code(
            "requirements_unfit", (422,), "`requirements` is too long or nested too deeply.",
            "Bring large values as blobs and name them.",
        ),
        Code("range_unfit", (422,), "A version range is none, or fits no version.", "Write it like `>=2.1,<3`."),
        Code(
            "resources_unfit", (422,), "`requirements.resources` is no object of numbers of 0 or more, or takes too much.",
            "`detail` names each fault.",
        ),
        Code("blob_unknown", (422,), "`blobs` names one that the tenant does not have.", "`PUT /v1/blobs/{sha256}` first."),
        Code(
            "payload_unfit", (422,), "`payload` is too long or nested too deeply, or does not fit the schema of its task type.",
            "`errors` names each fault. Bring large values as blobs; `GET /v1/task-types/TYPE/schemas` tells what fits.",
        ),
        Code(
            "result_unfit", (422,),
            "The result is too long or nested too deeply, or does not fit the schema by which the task goes.",
            "`errors` names each fault. Mend it and report again: the lease is still yours.",
        ),
        Code("question_open", (409,), "The task's last question has no answer yet.", "Wait for the answer, then ask the next."),
        Code("questions_too_many", (409,), "As many questions were asked about the task as may be.", "Finish it, or give it back."),
        Code("question_unknown", (404,), "The task has no question of this number.", "`questions` in the task is the last number."),
        Code(
            "question_closed", (409,), "The question has another answer already, or its asker has lost the task.",
            "Read the task: `waits_for_input_since` is there while an answer is waited for.",
        ),
        Code(
            "schema_unfit", (422,), "What is to be a schema is none, or asks for what is not taken here.",
            "`errors` names each fault in it; `docs/coordination.md` says what is taken.",
        ),
        Code("schemas_missing", (422,), "Neither a schema of payloads nor one of results is given.", "Give one of them, or both."),
        Code(
            "schema_versions_too_many", (409,), "Open tasks still go by the oldest of as many versions of the schemas as are kept.",
            "Wait until those tasks have ended, or cancel them.",
        ),
        Code(
            "schema_gone", (422,), "The schemas by which the dead letter goes are not at hand any more.",
            "Submit it anew, by those in force.",
        ),
        Code("book_closed", (409,), "The round that the bid is for is over.", "Wait for the next call."),
        Code("answers_too_many", (409,), "The agent has changed its answer to this call too often.", "Wait for the next call."),
        Code("agent_not_eligible", (403,), "The agent was not called for this task.", "Answer calls that were made to you."),
        Code(
            "bids_are_sealed",
            (409,),
            "The task takes sealed bids, and commitments are still being taken.",
            "Commit to a bid, and open it once the node calls for it.",
        ),
        Code("bids_are_open", (409,), "The task takes open bids.", "Send the bid itself."),
        Code(
            "bids_are_opened",
            (409,),
            "Sealed bids are being opened: commitments stand as they are.",
            "Open the bid that was committed to.",
        ),
        Code("commitment_unknown", (404,), "The agent has not committed to a bid.", "Wait for the next call."),
        Code("bid_is_opened", (409,), "The agent has opened its sealed bid otherwise.", "Nothing: what was said first stands."),
        Code(
            "agent_not_active",
            (409,),
            "The agent is not there: not registered, draining, silent or gone.",
            "Name another, or wait for it.",
        ),
        Code("meant_for_another", (422,), "The task is meant for another agent alone.", "Leave it to that one."),
        Code("skill_missing", (422,), "The agent lacks a skill that the task needs.", "Name another agent."),
        Code("skill_unfit", (422,), "The agent has a skill in another version or with other attributes.", "Name another agent."),
        Code("region_elsewhere", (422,), "The agent is in another region than the task asks for.", "Name another agent."),
        Code("excluded", (422,), "The agent did what the task must be independent of.", "Name another agent."),
        Code("capacity_small", (422,), "The agent could never hold as many units.", "Name another agent."),
        Code(
            "assignee_unknown", (422,), "`assign_to` names an agent that is not registered.", "Name another, or register it first."
        ),
        Code(
            "off_hours", (409,), "The agent is off duty.", "`detail` says until when. Wait, name another, or say `override`: true."
        ),
        Code("slots_full", (409,), "The agent has no free slot.", "Wait, or name another agent."),
        Code("capacity_full", (409,), "The agent has not as many units left.", "Wait, or name another agent."),
        Code("price_over_budget", (422,), "The agent's list asks more than the task pays.", "Name another agent."),
        Code(
            "charge_too_high",
            (422,),
            "More is charged than was agreed, or than the task pays at most.",
            "Charge what was agreed, or less.",
        ),
        Code("bid_unknown", (404,), "The agent has no bid for this task.", "Nothing: there is none to withdraw."),
        Code("price_missing", (422,), "The bid names no price, and there is no list to take it from.", "Bid with a price."),
        Code("bid_outlasts_task", (422,), "`expires_at` is after the task's deadline.", "Let the bid end by then, or name no end."),
        Code("bid_expired", (422,), "The bid's `expires_at` has passed.", "Bid with a later one, or none."),
        Code("eta_past_deadline", (422,), "The bid's `eta_seconds` ends after the task's deadline.", "Bid with less, or refuse."),
        Code("token_unknown", (422,), "No award of this task had this token.", "Report with the token of the award."),
        Code("token_stale", (409,), "The task was taken from the holder of this token.", "Stop working on it."),
        Code("not_the_holder", (403,), "The task was awarded to another agent.", "Stop working on it."),
    ),
)  # fmt: skip
INBOX = Part(
    "The inbox of a person",
    (
        Code(
            "inbox_is_a_persons",
            (403,),
            "The key is good, and an inbox is that of a user who is signed in.",
            "Sign in as a user; programs bid by the routes of agents.",
        ),
        Code(
            "inbox_unknown",
            (404,),
            "The user has not said yet what they can do, or has left.",
            "PUT /v1/inbox/profile.",
        ),
        Code(
            "inbox_closed",
            (409,),
            "The user takes nothing new now.",
            "PUT /v1/inbox/profile to be there again; what is held can be finished.",
        ),
        Code("task_taken", (409,), "Somebody else has the task.", "Take another; `detail` says who has it."),
        Code(
            "others_are_asked",
            (409,),
            "A book is open for the task, and whoever comes now comes too late for it.",
            "Wait as long as `detail` says: then somebody has it, or it waits again.",
        ),
        Code(
            "not_for_people",
            (409,),
            "The task is a dry run, or takes sealed bids.",
            "Take another; an operator may assign one whose bids are sealed.",
        ),
        Code(
            "coordination_stopped",
            (409,),
            "An operator has stopped giving work out.",
            "Wait; GET /v1/coordination says since when, and why.",
        ),
        Code(
            "queue_paused",
            (409,),
            "An operator holds the task's queue back.",
            "Wait; GET /v1/queues says since when, and why.",
        ),
        Code("begins_later", (409,), "The task may not begin yet.", "Wait until its `not_before`."),
        Code(
            "concurrency_full",
            (409,),
            "As many tasks of the same key are under way as may be.",
            "Wait for one of them; GET /v1/concurrency names them.",
        ),
        Code(
            "hold_seconds_unfit",
            (422,),
            "The time for which tasks are to stay is shorter or longer than the operator allows.",
            "`detail` says what is allowed.",
        ),
        Code("progress_too_often", (409,), "It was told too often how far the task is.", "Finish it, or give it back."),
        Code(
            "declined_too_often",
            (409,),
            "As many people as are remembered would not take the task.",
            "Leave it; an operator sees why nobody takes it.",
        ),
    ),
)

SOLVES = Part(
    "Problems and solves",
    (
        Code("problem_unknown", (404,), "There is no such problem.", "Register it by POST /v1/problems."),
        Code("problem_exists", (409,), "The id is another problem's.", "Register it under a new Idempotency-Key."),
        Code("problems_too_many", (409,), "The tenant has as many problems as it may.", "Use those that are registered."),
        Code("problem_too_large", (422,), "The problem is larger than the node's solver takes.", "Solve a smaller one, or in parts."),
        Code("backend_not_configured", (422,), "The node is not set up for the backend that the solve asks for, or its strategy needs.",
             "Ask for what it has, or for a `fallback`."),
        Code("backend_not_implemented", (501,), "The node has the backend's credentials, but its build does not speak to that service.",
             "Ask for another backend, or for a `fallback`."),
        Code("strategy_unknown", (422,), "The node's solver has no strategy of that name; the `detail` lists those it has.",
             "Ask for one of them, or for none."),
        Code("warm_start_unfit", (422,), "What the solve is to begin with is not there, or is no solution of such a problem.",
             "Name another one, or none."),
        Code("threads_too_many", (422,), "The solve asks for more threads than the node gives to one.", "Ask for fewer."),
        Code("job_unknown", (404,), "There is no such solve.", "Check the id."),
        Code("job_exists", (409,), "The id is another solve's.", "Queue it under a new Idempotency-Key."),
        Code("job_is_queued", (409,), "The solve has not begun.", "Wait."),
        Code("job_is_running", (409,), "The solve is under way.", "Wait, or cancel it."),
        Code("job_is_completed", (409,), "The solve has ended.", "Read its result."),
        Code("job_is_failed", (409,), "The solve has failed.", "Read its `reason`."),
        Code("job_is_cancelled", (409,), "The solve was cancelled.", "Queue it anew."),
    ),
)  # fmt: skip
BLOBS = Part(
    "Blobs and uploads",
    (
        Code("blob_erased", (410,), "The blob was data of a person who was erased.", "Nothing: it is gone for good."),
        Code(
            "blob_altered", (500,), "The file on the disk has other bytes than its name says.",
            "Bring the blob again; tell the operator.",
        ),
        Code("blob_quota_reached", (507,), "The tenant's blobs take up as much as they may.", "Collect those that nothing refers to."),
        Code("no_keyring", (422,), "The node keeps no keys, and so takes no data of data subjects.", "Ask the operator for a master key."),
        Code("upload_offset_differs", (409,), "The upload stands at another offset.", "Go on from the `Upload-Offset` of this answer."),
        Code("upload_busy", (409,), "Another request is at this upload.", "Wait for it, then ask how far it has come."),
        Code("too_many_uploads", (409,), "The tenant has as many open uploads as it may.", "End some, or give them up."),
    ),
)  # fmt: skip
KEYS = Part(
    "Keys, journals and persons",
    (
        Code("key_unknown", (403, 404), "There is no such key.", "Check the id."),
        Code("key_exists", (409,), "The id is another key's.", "Issue it under a new Idempotency-Key."),
        Code("keys_too_many", (409, 422), "There are as many good keys of the tenant as may be.", "Revoke some."),
        Code("role_needs_registration", (422,), "An agent's own key comes with its registration.", "Register the agent."),
        Code("expiry_passed", (422,), "The key would be dead at birth.", "Choose a later `expires_at`."),
        Code("key_ended", (409,), "The key was revoked, or has been replaced.", "Use its successor, or ask an admin for a key."),
        Code(
            "key_in_use", (409,), "The key that asks took the place of the one to revoke, and would be revoked with it.",
            "Ask with another key, or say `successors=none`.",
        ),
        Code("scopes_excessive", (422,), "The scopes name what the key's role may not do.", "Name permissions that the role has."),
        Code("tenant_unreadable", (422,), "That is no name of a tenant.", "Use small letters, digits and `-`."),
        Code("tenant_isolated", (409,), "The tenant has a journal of its own, where its keys stand.", "Use a key of that journal."),
        Code(
            "tenant_not_empty", (409,), "The tenant has records in the shared journal already.",
            "Isolate tenants before they begin to work.",
        ),
        Code("name_taken", (422,), "The name is the shared journal's.", "Choose another."),
        Code("journal_exists", (409,), "The journal of this name is another one.", "Choose another name."),
        Code("journal_open", (409,), "The journal is open already.", "Nothing."),
        Code(
            "journal_not_empty", (409,), "There is a journal of this name that holds records and is not listed.",
            "Tell the operator: it may have come from a backup.",
        ),
        Code("journals_too_many", (409,), "The node has as many named journals as it may.", "Use another node."),
        Code(
            "journals_unavailable", (409,), "A node whose journal is in PostgreSQL has no named journals.",
            "Use a node with a journal of its own.",
        ),
        Code("subject_unreadable", (422,), "The path names no id of a data subject.", "Ids have letters, digits, `.`, `_` and `-`."),
        Code("subject_unknown", (404,), "Nothing is recorded of this person.", "Check the id."),
        Code("no_keys", (501,), "This journal has no keys for the data of persons.", "Ask the operator for a master key."),
    ),
)  # fmt: skip
USERS = Part(
    "Users and sessions",
    (
        Code("user_unknown", (404,), "There is no such user.", "Check the id."),
        Code("user_exists", (409,), "The user stands otherwise than this needs.", "GET the user to see how."),
        Code("username_taken", (409,), "Another user of the tenant has this name.", "Choose another."),
        Code("email_taken", (409,), "Another user of the tenant has this address.", "Use another."),
        Code("users_too_many", (409,), "There are as many users of the tenant as may be.", "Remove some."),
        Code("role_needs_key", (422,), "The role is one of programs, which have keys.", "Choose a role of people."),
        Code("password_unfit", (422,), "The password is too short, too long, or the user's name.", "Choose another; `detail` says why."),
        Code("password_elsewhere", (409,), "An identity provider vouches for the user, who has no password here.", "Set it there."),
        Code("sign_in_locked", (429,), "There were too many wrong passwords.", "Wait, or ask an admin to unlock the user; keys go on."),
        Code("session_unknown", (404,), "There is no such session.", "Check the id."),
        Code("session_exists", (409,), "The session stands otherwise than this needs.", "GET /v1/sessions tells how."),
        Code("session_elsewhere", (403,), "The session is of another tenant.", "Use that tenant's."),
        Code("sessions_too_many", (503,), "As many sessions of the tenant are open as may be.", "Sign out elsewhere, or come again."),
        Code("bad_gateway", (502,), "The identity provider does not answer.", "Come again; who is signed in is not concerned."),
        Code(
            "revocation_unclear", (422,), "Not one of jti, subject and principal was named, or more than one.",
            "Name one of them.",
        ),
        Code("issuer_unknown", (422,), "Tokens of this issuer are not taken here.", "Give its URL as GAVEL_TOKEN_ISSUERS has it."),
        Code("revocation_over", (422,), "Tokens that were issued before that have all expired.", "Nothing is to be done."),
        Code(
            "revocations_too_many", (409,), "As many revocations of the tenant hold as may.",
            "Revoke whole subjects; some are forgotten in time.",
        ),
    ),
)  # fmt: skip
AUDITS = Part(
    "Audits and read models",
    (
        Code("action_exists", (409,), "The id is another action's.", "Begin it under a new Idempotency-Key."),
        Code("action_unknown", (404,), "There is no such action.", "Check the id."),
        Code("action_not_yours", (403,), "Another principal has begun the action.", "Whoever began it ends it."),
        Code("action_ended", (409,), "The action has ended otherwise.", "Nothing."),
        Code(
            "archived", (409,), "The records of this stream are in an archive.",
            "Nothing is added to them any more: begin something new.",
        ),
        Code("rotations_too_many", (409,), "The signing key was rotated as often as it may be.", "Begin a new journal."),
        Code(
            "projection_not_stopped_there", (409,), "The read model has not stopped, or at another event.",
            "GET /v1/projections tells where it stands.",
        ),
        Code("skips_too_many", (409,), "The read model passes over as many events as it may.", "Mend it and make it anew."),
    ),
)  # fmt: skip
WEBHOOKS = Part(
    "Webhooks",
    (
        Code("webhook_unknown", (404,), "There is no such webhook.", "Check the id."),
        Code("webhook_exists", (409,), "The webhook stands otherwise than this needs.", "GET the webhook to see how."),
        Code("webhooks_too_many", (409,), "There are as many webhooks of the tenant, or of all tenants, as may be.", "Delete some."),
        Code("url_not_https", (422,), "The URL does not begin with https://.", "Give the receiver a certificate."),
        Code("url_not_public", (422,), "The URL leads into the node's own network.", "Use an address that the world can reach."),
        Code("url_unusable", (422,), "Nothing can be sent to this URL.", "Correct it; `detail` says what is wrong."),
        Code("secret_rotated", (409,), "The secret was replaced meanwhile.", "GET the webhook, and say the newer number."),
        Code(
            "kind_unknown", (422,), "There is no such kind of record, or it is never sent.",
            "Name an aggregate, as `task`, or a kind that `GET /v1/log` tells, as `task.TaskSubmitted`.",
        ),
    ),
)  # fmt: skip
PARTS = (REQUESTS, AGENTS, TASKS, INBOX, SOLVES, BLOBS, KEYS, USERS, WEBHOOKS, AUDITS)
"""In the order of the page."""

CODES = {code.name: code for part in PARTS for code in part.codes}

UNSEEN = frozenset(
    {
        "agent_not_heard", "agent_was_heard", "archive_out_of_turn", "batch_missing", "batch_stale", "batch_unproven", "book_open",
        "deadline_ahead", "grace_ahead", "key_expired", "key_is_the_same", "key_not_current", "lease_held", "no_email_address",
        "no_role", "nobody_eligible", "not_for_a_group", "not_yet", "nothing_sealed", "refusals_missing", "session_over",
        "somebody_fits", "token_exists", "token_revoked", "too_many_archives", "user_disabled", "within_budget",
    }
)  # fmt: skip
"""What commands of the house are refused with, or a call of the actors' own: no client meets these."""


def page() -> str:
    """The catalogue as a page of documentation."""
    lines = [
        "# Problem codes",
        "",
        "Written by `python -m gateway.api.problem_codes`; a test compares. What a problem document is: [api.md](api.md).",
        "The code is the last part of the document's `type`, `urn:gavel:problem:CODE`.",
        "",
    ]
    for part in PARTS:
        lines += [f"## {part.heading}", "", "| code | status | means | what to do |", "| --- | --- | --- | --- |"]
        for code in part.codes:
            statuses = ", ".join(map(str, code.statuses))
            lines.append(f"| `{code.name}` | {statuses} | {code.meaning} | {code.remedy} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
