"""The kinds of problems, for the pages /problems/<kind> that the answers point to."""

from __future__ import annotations

KINDS = {
    "bad-request": "The request cannot be read: its line, its headers or its body are not what HTTP says.",
    "busy": "Others are changing the same rows, and nothing was changed. Ask again after Retry-After seconds.",
    "changed-meanwhile": "What you change was changed since you read it, so your If-Match does not fit. Read it "
    "again, then repeat your change.",
    "content-too-large": "The body is larger than the server takes (its setting max_body). Send less at once.",
    "database-unavailable": "PostgreSQL does not answer. Nothing was done, unless the answer to a change was "
    "lost: repeat it with its Idempotency-Key after Retry-After seconds.",
    "idempotency-key-reused": "This Idempotency-Key came with another request before. Use a new key for each "
    "request, and the same one only to repeat it.",
    "internal-error": "The server is at fault. Its log names the request by request_id.",
    "invalid-idempotency-key": "An Idempotency-Key has 1 to 255 printable ASCII characters.",
    "invalid-json": "The body is no JSON: the detail says what was expected and where.",
    "invalid-payload": "The payload does not fit the task, is too large, or is nothing that PostgreSQL can store.",
    "invalid-request": "A field or a parameter is unknown, missing or out of range; errors has a pointer to each.",
    "invalid-schedule": "The schedule's expression, time zone or limits cannot be.",
    "invalid-task": "The task cannot be used like this.",
    "invalid-token": "The token is unknown, revoked or expired. An administrator makes a new one.",
    "invalid-value": "A value is of the right type but cannot be: the detail says which and why.",
    "job-not-found": "There is no such job, its history has been pruned, or your token does not see its queue.",
    "job-state": "The job is not in a state that allows this.",
    "limited-token": "Your token is limited to some queues, and this concerns all of them.",
    "method-not-allowed": "There is something here, but not with this method. Allow names those that there are.",
    "misconfigured": "The server's own database role lacks rights: pgtask db grant server --to LOGIN.",
    "expectation-failed": "The server fulfils no expectation but 100-continue.",
    "missing-scope": "Your token is good, but not for this: scope says what it lacks.",
    "missing-token": "Send Authorization: Bearer pgt_…; an administrator makes tokens with pgtask tokens create.",
    "not-found": "There is nothing here.",
    "queue-full": "The queue has as many waiting jobs as its max_size. Ask again after Retry-After seconds.",
    "queue-not-found": "There is no such queue, or your token does not see it.",
    "queue-state": "The queue is not in a state that allows this.",
    "refused": "The detail says why.",
    "request-in-progress": "A request with this Idempotency-Key is being worked on. Ask again in a moment.",
    "not-implemented": "The server knows no such transfer coding.",
    "request-header-fields-too-large": "A header is longer than 8190 bytes, or there are more than 100.",
    "request-timeout": "The body did not come in time.",
    "schedule-not-found": "There is no such schedule.",
    "schedule-state": "The schedule is not in a state that allows this.",
    "schema-outdated": "The database's schema is of another release than the server: pgtask db migrate.",
    "task-not-found": "No worker has registered a task of this name.",
    "token-exists": "There is a token of this name, or was one: the audit knows tokens by their names.",
    "token-not-found": "There is no such token, or it was revoked.",
    "too-many-requests": "You have used up your rate of requests, or too many without a valid token came from your "
    "address. Ask again after Retry-After seconds.",
    "took-too-long": "The database stopped this at its time limit. Ask for less, or later.",
    "unique-conflict": "A live job holds this unique key: job_id says which.",
    "unreadable-body": "The body ended early, or its chunks are none.",
    "unsupported-media-type": "Send JSON, with Content-Type: application/json.",
    "uri-too-long": "The path and the query are longer than 8190 bytes.",
    "worker-not-found": "There is no such worker.",
}
"""What each means and what to do about it, by the name at the end of its type."""
