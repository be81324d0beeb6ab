"""What the audit says of a request that changes something: one line, written by Database.change() for all routes.

Recorded is every request but those that only read, what needs the scope submit or worker, and what was refused. The
action is the name of the operation in /openapi.json; the target is what the address names, unless the handler says.
"""

from dtsched.api.callers import caller_of
from dtsched.api.documentation import operation_of
from dtsched.api.front_door import request_id_of
from dtsched.api.requests import ApiRequest
from dtsched.overview import AuditEntry

_CHANGING = {"operate", "admin"}
_KINDS = {
    "jobs": "job",
    "operations": "operation",
    "queues": "queue",
    "limits": "limit",
    "schedules": "schedule",
    "workflows": "workflow",
    "workers": "worker",
    "keys": "key",
}


def record_of(request: ApiRequest) -> AuditEntry | None:
    """None where nothing is recorded."""
    handler = request.scope["route_handler"]
    told = operation_of(handler.opt or {})
    if told is None or told.access.scope not in _CHANGING or request.method in ("GET", "HEAD"):
        return None
    resource = request.scope["path"].split("/")[2]
    named = next(iter(request.path_params.values()), None)
    return AuditEntry(
        actor=caller_of(request).name,
        action=handler.fn.__name__,
        kind=_KINDS.get(resource, resource),
        target=None if named is None else str(named),
        detail={},
        request_id=request_id_of(request.scope),
    )
