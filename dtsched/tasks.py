"""Tasks by name: how a handler's arguments travel as JSON, and how often and how long it may try."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import reduce
from types import GenericAlias, UnionType
from typing import Any, Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import astuple

from dtsched.answers import Cancel, Fail, Retry, RetryRules, Snooze
from dtsched.checks import MAX_RESULT_BYTES, check_json, encoded_flats, shown
from dtsched.context import Context
from dtsched.errors import DtschedError, InvalidInput, UnknownTask
from dtsched.jobs import NewJob, OnConflict, check, reference_of
from dtsched.schedules import NewSchedule, check_schedule
from dtsched.settings import Duration, parse_duration
from dtsched.uniqueness import Unique, key_of

Executor: TypeAlias = Literal["async", "thread", "process"]

_LONGEST_TTL_SECONDS = 36_600 * 86_400.0
_EXECUTORS = get_args(Executor)
_AT = re.compile(r" - at `\$(?:\.(?P<field>[^`\[.]+))?[^`]*`$")
_FIELD = re.compile(r"field `(?P<field>[^`]+)`")
_OUTCOMES = (Retry, Snooze, Cancel, Fail)


class TaskDefinition:
    """A handler under a name. `timeout` is seconds an attempt; `executor` says where it runs, by default in the event
    loop for an async def and in a thread for a def; `max_crashes` workers or processes may die under a job before it
    fails; `queue` and the others are what its jobs get unless they say otherwise. `max_result` is in bytes of JSON, and
    0 on the definition where no result is kept; `result_ttl` is seconds, or "forever". Raises InvalidInput for a
    signature whose arguments cannot travel as named JSON values."""

    def __init__(
        self,
        function: Callable[..., object],
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        executor: Executor | None = None,
        unique: Unique | None = None,
        key_for: Duration | None = None,
        on_conflict: OnConflict | None = None,
        max_crashes: int | None = None,
        result: bool = True,
        max_result: int = MAX_RESULT_BYTES,
        result_ttl: float | str | None = None,
    ) -> None:
        if not inspect.isroutine(function):
            raise InvalidInput(f"a handler must be a function, not {shown(function)}", field="function")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidInput(
                f"task {name or function.__name__}: a handler returns its result, it does not yield: return a list",
                field="function",
            )
        self.function = function
        self.name = name if name is not None else function.__name__
        self.queue = queue
        self.priority = priority
        if retry is not None and not isinstance(cast("object", retry), Retry):
            raise InvalidInput(f"task {self.name}: retry must be like Retry(5), not {shown(retry)}", field="retry")
        self.max_attempts = retry.max_attempts if retry else None
        self.backoff = retry.policy if retry else None
        self.rules = retry.rules if retry else RetryRules()
        self.max_crashes = max_crashes
        if max_crashes is not None and not 1 <= max_crashes <= 1000:
            raise InvalidInput(f"max_crashes must be 1 to 1000, not {max_crashes}", field="max_crashes")
        self.timeout = None if timeout is None else parse_duration(timeout, field="timeout")
        self.result_ttl = _result_ttl(result_ttl)
        self.key_for = key_for.total_seconds() if isinstance(key_for, timedelta) else key_for
        self.on_conflict: OnConflict | None = on_conflict
        check(
            NewJob(
                task=self.name,
                queue=queue,
                priority=priority,
                max_attempts=self.max_attempts,
                backoff=self.backoff,
                timeout=self.timeout,
                key="any",
                key_for=self.key_for,
                on_conflict=on_conflict,
            )
        )
        self.max_result = _max_result(self.name, kept=result, most=max_result)
        self.executor: Executor = _executor(self.name, function, executor)
        self.takes_context, self._signature, hints = _signature(self.name, function)
        self._hints = hints
        parameters = self._signature.parameters.values()
        self._extra = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        self._named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
        self._positional = [p.name for p in self._named if p.kind is not p.KEYWORD_ONLY]
        self._keywords = [p.name for p in self._named if p.kind is p.KEYWORD_ONLY]
        self._defaults = {p.name: cast("object", p.default) for p in self._named if p.default is not p.empty}
        # as the struct has them: nothing to be told from a default, or put elsewhere
        self._plain = not self._defaults and not self._keywords and self._extra is None
        self._result_type = result_type(hints.get("return", Any))
        self._extra_type = hints.get(self._extra, Any) if self._extra is not None else Any
        try:
            struct = _struct(self.name, self._named, hints, open_ended=self._extra is not None)
            self._decode = msgspec.json.Decoder(struct).decode
            self._decode_all = msgspec.json.Decoder(GenericAlias(list, (struct,))).decode
            self._args_type = struct
            msgspec.json.Decoder(self._extra_type)
        except TypeError as error:
            raise InvalidInput(
                f"task {self.name}: its annotations cannot be read from JSON: {error}", field="annotations"
            ) from error
        self.key_of = key_of(self.name, unique, self._defaults, [p.name for p in self._named], self._extra is not None)

    def bind(self, /, *args: object, **kwargs: object) -> dict[str, Any]:
        """The arguments by name, as JSON has them. InvalidInput when the handler would not take them."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidInput(f"task {self.name}: {error}", field="args") from error
        named = dict(bound.arguments)
        if self._extra is not None:
            named.update(cast("dict[str, object]", named.pop(self._extra, {})))
        try:
            plain = cast("dict[str, Any]", msgspec.to_builtins(named, str_keys=True))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidInput(f"task {self.name}: args cannot be stored as JSON: {error}", field="args") from error
        raw = check_json(plain, field="args")
        if any(reference_of(value) is not None for value in plain.values()):
            self._check_others(plain)
        else:
            self.decode(raw)
        return plain

    def encode_flats(self, many: Sequence[object]) -> bytes | None:
        """encode() of the args of some jobs at one look, as a JSON array; None where they need more, whether they fit
        or not."""
        if self._extra is not None or (raw := encoded_flats(many)) is None:
            return None
        try:
            self._decode_all(raw)
        except msgspec.ValidationError:
            return None
        return raw

    def encode(self, named: Mapping[str, object]) -> bytes:
        """bind() by name as JSON, for a job without parents."""
        if (raw := self.encode_flats([named])) is not None:
            return raw[1:-1]
        plain = self.bind(**named)
        self.require_no_references(plain)
        return check_json(plain, field="args")

    def require_no_references(self, args: dict[str, Any]) -> None:
        """Of a job without parents {"$parent": 1} is an argument like any other, which must fit."""
        if any(reference_of(value) is not None for value in args.values()):
            self.decode(msgspec.json.encode(args))

    def _check_others(self, args: dict[str, Any]) -> None:
        """decode() without what will be replaced by the results of parents."""
        for name, value in args.items():
            if reference_of(value) is None:
                kind = self._hints.get(name, Any) if name in self._signature.parameters else self._extra_type
                try:
                    msgspec.convert(value, kind, str_keys=True)
                except msgspec.ValidationError as error:
                    raise InvalidInput(f"task {self.name}: {name}: {error}", field=name) from error

    def decode(self, raw: bytes) -> tuple[tuple[object, ...], dict[str, object]]:
        """Positional and keyword arguments from a job's JSON. InvalidInput names the field that does not fit."""
        try:
            given = self._decode(raw)
        except msgspec.ValidationError as error:
            raise self._misfit(error) from error
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidInput(f"task {self.name}: args are not JSON: {error}", field="args") from error
        if self._plain:
            return astuple(given), {}
        positional = tuple(self._value(given, name) for name in self._positional)
        keywords = {name: self._value(given, name) for name in self._keywords}
        if self._extra is not None:
            every = cast("dict[str, object]", msgspec.json.decode(raw))
            known = {*self._positional, *self._keywords}
            keywords |= {name: self._extra_value(name, value) for name, value in every.items() if name not in known}
        return positional, keywords

    def declaration(self) -> dict[str, Any]:
        """What the database is told of it, so that jobs submitted by others take it over too."""
        settings = {
            "queue": self.queue,
            "priority": self.priority,
            "max_attempts": self.max_attempts,
            "timeout": self.timeout,
            "backoff": self.backoff,
            "max_crashes": self.max_crashes,
            "retry_on": self.rules.on,
            "retry_never": self.rules.never,
            "retry_delays": self.rules.delays,
            "executor": self.executor,
            "result_ttl": self.result_ttl,
        }
        return {
            "settings": {name: value for name, value in settings.items() if value not in (None, (), {})},
            "args": self._args_schema(),
        }

    def _args_schema(self) -> dict[str, Any] | None:
        """None for annotations that JSON Schema has no words for."""
        try:
            return msgspec.json.schema(self._args_type)
        except TypeError:
            return None

    def read_result(self, value: object) -> object:
        """A job's result, out of plain JSON, in the type that the handler's annotation promises; None where none is
        kept."""
        if self.max_result == 0:
            return None
        try:
            return msgspec.convert(value, self._result_type, str_keys=True)
        except msgspec.ValidationError as error:
            if value is None:
                raise DtschedError(
                    f"task {self.name}: the result is null: it was not kept, or not for so long"
                ) from error
            raise DtschedError(f"task {self.name}: the result is not what its annotation says: {error}") from error

    def _extra_value(self, name: str, value: object) -> object:
        try:
            return msgspec.convert(value, self._extra_type, str_keys=True)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"task {self.name}: {name}: {error}", field=name) from error

    def _value(self, given: msgspec.Struct, name: str) -> object:
        value = getattr(given, name)
        return self._defaults[name] if value is msgspec.UNSET else value

    def _misfit(self, error: msgspec.ValidationError) -> InvalidInput:
        text = str(error)
        at = _AT.search(text)
        field = (at and at["field"]) or ((found := _FIELD.search(text)) and found["field"]) or "args"
        return InvalidInput(f"task {self.name}: {field}: {_AT.sub('', text)}", field=field)


class _Definitions(dict[str, TaskDefinition]):
    def __missing__(self, name: str) -> TaskDefinition:
        known = ", ".join(sorted(self)) or "none"
        raise UnknownTask(f"there is no task {shown(name)}; known are: {known}", field="task")


class TaskRegistry(Mapping[str, TaskDefinition]):
    """The tasks of one app."""

    def __init__(self) -> None:
        self._definitions = _Definitions()
        self.definition = self._definitions.__getitem__
        """The task of a name, as registry[name]; a worker asks for it with each job."""
        self.schedules: dict[str, NewSchedule] = {}
        """By name: what the workers of this app declare."""

    def add_schedule(self, name: str, schedule: NewSchedule) -> None:
        checked = check_schedule(name, schedule)
        if name in self.schedules:
            raise InvalidInput(f"there is a schedule {name} already: give one of them another name", field="name")
        self.schedules[name] = checked

    def add(self, definition: TaskDefinition) -> None:
        if definition.name in self._definitions:
            raise InvalidInput(
                f"there is a task {definition.name} already: give one of them another name", field="name"
            )
        self._definitions[definition.name] = definition

    def __getitem__(self, name: str) -> TaskDefinition:
        return self._definitions[name]

    def __contains__(self, name: object) -> bool:
        return name in self._definitions

    def __iter__(self) -> Iterator[str]:
        return iter(self._definitions)

    def __len__(self) -> int:
        return len(self._definitions)


def _result_ttl(given: float | str | None) -> float | str | None:
    if given is None or given == "forever":
        return given
    seconds = parse_duration(given, field="result_ttl")
    if not 0 <= seconds <= _LONGEST_TTL_SECONDS:
        raise InvalidInput(f'result_ttl must be 0 to 36600 days, or "forever", not {shown(given)}', field="result_ttl")
    return seconds


def _max_result(name: str, *, kept: bool, most: int) -> int:
    told, number = cast("object", kept), cast("object", most)  # of a caller without a type checker
    if not isinstance(told, bool):
        raise InvalidInput(f"task {name}: result must be True or False, not {shown(told)}", field="result")
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_RESULT_BYTES:
        raise InvalidInput(
            f"task {name}: max_result must be 1 to {MAX_RESULT_BYTES} bytes, not {shown(number)}", field="max_result"
        )
    return number if told else 0


def _executor(name: str, function: Callable[..., object], given: Executor | None) -> Executor:
    is_async = inspect.iscoroutinefunction(function)
    if given is None:
        return "async" if is_async else "thread"
    if given not in _EXECUTORS:
        told = f"executor must be 'async', 'thread' or 'process', not {shown(cast('object', given))}"
    elif is_async and given != "async":
        told = f"executor={given!r} is for plain functions, and this is an async def: leave executor out, or write def"
    elif given == "async" and not is_async:
        told = "executor='async' is for async def functions, and this is a def: leave executor out, or write async def"
    else:
        return given
    raise InvalidInput(f"task {name}: {told}", field="executor")


def _signature(name: str, function: Callable[..., object]) -> tuple[bool, inspect.Signature, dict[str, Any]]:
    """Whether the first parameter is the context, the signature without it, and the annotations resolved."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise InvalidInput(f"task {name}: an annotation cannot be resolved: {error}", field="annotations") from error
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    takes_context = bool(parameters) and hints.get(parameters[0].name) is Context
    if takes_context:
        parameters = parameters[1:]
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise InvalidInput(
                f"task {name}: arguments travel by name, so {parameter} cannot be one: name it, or use **kwargs",
                field=parameter.name,
            )
        if hints.get(parameter.name) is Context:
            raise InvalidInput(f"task {name}: the context must be its first parameter", field=parameter.name)
    return takes_context, signature.replace(parameters=parameters), hints


def _struct(
    name: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any], *, open_ended: bool
) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        (p.name, hints.get(p.name, Any)) if p.default is p.empty else (p.name, hints.get(p.name, Any), msgspec.UNSET)
        for p in parameters
    ]
    return msgspec.defstruct(f"Args_{name}", fields, kw_only=True, forbid_unknown_fields=not open_ended)


def result_type(annotation: Any) -> Any:
    """What results are read as: the annotation without the outcomes a handler may return instead of one. Any, when that
    is nothing that could be read from JSON."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    promised = [part for part in parts if part not in _OUTCOMES]
    try:
        wanted = reduce(lambda one, other: one | other, promised)
        msgspec.json.Decoder(wanted)
    except TypeError:
        return Any
    return wanted
