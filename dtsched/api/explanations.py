"""What each kind of problem means, in the words of its page: GET /problems/NAME. A test fails for a kind without."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

CHANGED = "Not as it is: the same request gets the same answer until it, or what it is about, has changed."
LATER = "Yes, as it is, after the seconds in Retry-After."


class Explanation(NamedTuple):
    """Paragraphs; what stands between backquotes is code."""

    meaning: str
    remedy: str
    again: str = CHANGED


EXPLANATIONS: Mapping[str, Explanation] = MappingProxyType({
    "malformed-request": Explanation(
        "The request is not of the form that its address takes: not HTTP/1.1, not JSON, not UTF-8, nested more than 64 "
        "deep, with a number of over 309 digits, or with a field that is not there, is missing or has another type. "
        "Nothing was written.",
        "`detail` says what is wrong, and `errors` in which field, where there is one. The route's schema is at "
        "`/docs`.",
    ),
    "invalid-input": Explanation(
        "The request could be read, but a value in it is out of its range, or does not go with the others: a priority "
        "of 11, a `run_at` in 1969, args of more than 1 MiB, a filter that is none. Nothing was written.",
        "`errors` names the fields; of a batch, the first 20 jobs that were refused.",
    ),
    "unknown-task": Explanation(
        "No worker has ever declared a task of this name to this database, so no worker would run the job. Nothing was "
        "written.",
        "Check the spelling against `GET /v1/tasks`. If the name is right, start a worker that has the task.",
    ),
    "not-found": Explanation(
        "There is no such address, or nothing by the id or name in it: it was never there, it was deleted, or its "
        "retention is over.",
        "Look it up in the list, which has the address without the id or name.",
    ),
    "method-not-allowed": Explanation(
        "The address is there, but is not asked in this way: a GET of what is only done by POST, say.",
        "The `Allow` header of the answer names the methods that it takes.",
    ),
    "conflict": Explanation(
        "What is asked for cannot be done to the thing in the state that it is in: a job that has ended cannot be "
        "cancelled, one that runs cannot be deleted. Nothing was changed.",
        "Get it and look at its state; somebody else may have been quicker, with what you want done already.",
    ),
    "key-held": Explanation(
        "The job has a `key` that another job holds, and asks by `on_conflict: reject` to be refused then. Nothing was "
        "written.",
        "That job is most likely the one you wanted. Otherwise take another key, or another `on_conflict`.",
    ),
    "request-under-way": Explanation(
        "A request with the same `Idempotency-Key` came before and has not been answered yet: from this client or, "
        "after a connection was lost, from an earlier try of its own. This one did nothing.",
        "Send it again as it is: it gets the answer of the first.",
        LATER,
    ),
    "idempotency-key-reused": Explanation(
        "The `Idempotency-Key` was sent within the last day with another request: another address, or another body. "
        "Nothing was written.",
        "Repeat the first request byte for byte, or take a new key for a new one.",
    ),
    "worker-lost": Explanation(
        "The worker was silent for longer than its lease, so it was declared lost, and what it held was given back, "
        "to be run by others. It is never alive again under this id.",
        "Stop what it runs: no outcome of it is accepted. Register anew with `POST /v1/workers`.",
    ),
    "lease-gone": Explanation(
        "The lease has ended (its time was over, its job was cancelled or handed back), it belongs to another worker, "
        "or the `secret` is not its own; which of these is told to nobody. Nothing was changed.",
        "Drop the attempt. The job may be running elsewhere by now.",
    ),
    "lease-finished": Explanation(
        "The lease was finished before, with another outcome, result or error. The first one counts.",
        "Whoever repeats a finish because the answer was lost sends the same body, and is answered as the first time.",
    ),
    "operation-over": Explanation(
        "The operation has completed, failed or been cancelled: there is nothing left of it to cancel.",
        "Get it to see what it has done. What it has done to jobs stays; another operation may undo some of it.",
    ),
    "precondition-failed": Explanation(
        "The request has an `If-Match` that does not fit: what it would change is not as it was when it was read. "
        "Nothing was written.",
        "Get it again, look at what somebody else has changed, and send the change with the new `ETag`, if it is "
        "still wanted.",
    ),
    "schedule-declared": Explanation(
        "The schedule stands in the code of workers that run now, who would bring it back at once. Nothing was done.",
        "Change the code, or pause the schedule, which holds whatever the code says.",
    ),
    "unauthorized": Explanation(
        "API keys are in force here, and the request has none, or one that is not: it may be misspelt, revoked or past "
        "its time; which of these is told to nobody.",
        "Send `Authorization: Bearer dts_…`. Whoever runs the server makes a key with `dtsched key create NAME --scope "
        "…`, and sees with `dtsched key list` which are in force.",
    ),
    "scope-missing": Explanation(
        "The key is in force, but not for this: each address asks for a scope, which stands beside it at `/docs`, and "
        "args, results, progress and logs ask for `read-args`.",
        "Use a key that has the scope, or have one made.",
    ),
    "queue-forbidden": Explanation(
        "The key is for some queues only, and the request is about another one, or about what belongs to no queue.",
        "Use a key for that queue, or one for all queues.",
    ),
    "forbidden": Explanation(
        "The request names a host that is not this server's, or comes from a page that this server did not serve: this "
        "is how web pages reach servers that listen only for their own machine.",
        "Call the API by the address that it says it listens on, without an `Origin` header.",
    ),
    "request-timeout": Explanation(
        "The head of the request was not there 2 s after its first byte, or no byte of the body came for 2 s, or the "
        "body was not complete after 10 s (a batch: 60 s). Nothing was written.",
        "Send the request in one go; over a slow line, send smaller ones.",
        "Yes: the network may be better this time.",
    ),
    "body-too-large": Explanation(
        "The body is larger than what the address takes: 1 MiB and 64 KiB, a batch 16 MiB. Nothing was written.",
        "Send several requests, or store the data elsewhere and pass a reference in the args.",
    ),
    "head-too-large": Explanation(
        "The address and the headers have more than 32 KiB, or there are more than 100 headers.",
        "Look for cookies and tracing headers that nobody here reads. A long filter may be sent in parts.",
    ),
    "unsupported-media-type": Explanation(
        "The body is not sent as JSON, or is sent compressed. Nothing here unpacks bodies: a few bytes could become "
        "gigabytes.",
        "Send JSON as it is, with `Content-Type: application/json`.",
    ),
    "rate-limited": Explanation(
        "More requests came by this key, or without keys from this address, than the server's rate allows "
        "(`DTSCHED_API_RATE`), or more with a wrong key from this address than are borne. The headers "
        "`RateLimit-Policy` and `RateLimit` tell the rate and what is left of it. Nothing was done.",
        "Wait, then go on more slowly. Jobs that are submitted together, as a batch, count as one request.",
        LATER,
    ),
    "too-many-connections": Explanation(
        "All the connections that this server process serves at a time are in use.",
        "Use one connection for many requests, and close those that nobody needs; or run another server process.",
        LATER,
    ),
    "busy": Explanation(
        "The database is there but did not do this in time: a read took more than 2 s, a write more than 4 s or waited "
        "for what others hold. What was to be written was not.",
        "Ask for less at a time: a narrower filter, a smaller batch. If it stays like this, `GET /metrics` and "
        "`dtsched doctor` show what the database is busy with.",
        LATER,
    ),
    "database-unreachable": Explanation(
        "The database is down, restarting, has no connection to spare, or refuses this server's password. Of a write "
        "it is not known whether it was done before the connection went.",
        "Send it again. Submit with a `key`, and it is the same job however often it is sent.",
        LATER,
    ),
    "schema-missing": Explanation(
        "The database that the server was given has never been migrated.",
        "Run `dtsched migrate up` on it; the server need not be restarted.",
        LATER,
    ),
    "schema-mismatch": Explanation(
        "The schema in the database is of a version that this server does not understand.",
        "Upgrade whichever is older: the schema by `dtsched migrate up`, or the server.",
        LATER,
    ),
    "internal-error": Explanation(
        "Something went wrong that was not foreseen. Whether anything was written is not known.",
        "Look for the id that is in `instance` in the log of the server, and tell those who make dtsched.",
        "Once, to see whether it stays so; not for ever.",
    ),
})  # fmt: skip
