"""The OpenAPI document as a page for people: plain HTML of the server's making, which needs no script and loads nothing
but its own style sheet, by a relative address.
"""

import json
import shlex
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from dtsched.api.openapi import Document

_WORDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "over {}",
    "maximum": "to {}",
    "exclusiveMaximum": "under {}",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "like {}",
    "format": "{}",
}
_EXAMPLE_URL = "http://127.0.0.1:8000"


def render(document: Document) -> str:
    info = document["info"]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(info["title"])} API</title>
<link rel="stylesheet" href="docs/style.css">
</head>
<body>
<header>
<a class="skip" href="#operations">To the operations</a>
<h1>{_text(info["title"])} API <small>{_text(info["version"])}</small></h1>
{_paragraphs(info["description"])}
<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI {_text(document["openapi"])}).
The examples want the address of the server: <code>export DTSCHED_URL={_EXAMPLE_URL}</code>, and where keys are needed
<code>-H "Authorization: Bearer $DTSCHED_KEY"</code>.</p>
</header>
<nav aria-label="Operations">{"".join(_contents(document))}</nav>
<main id="operations">
{"".join(_operations(document))}
<h2 id="schemas">Schemas</h2>
{"".join(_named_schema(name, schema) for name, schema in document["components"]["schemas"].items())}
</main>
</body>
</html>
"""


def _by_tag(document: Document) -> Iterator[tuple[Document, list[tuple[str, str, Document]]]]:
    for tag in document["tags"]:
        found = [
            (method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if tag["name"] in operation["tags"]
        ]
        if found:
            yield tag, found


def _contents(document: Document) -> Iterator[str]:
    for tag, operations in _by_tag(document):
        links = "".join(
            f'<li><a href="#{operation["operationId"]}">{_call(method, path)}</a></li>'
            for method, path, operation in operations
        )
        yield f"<h2>{_text(tag['name'])}</h2><ul>{links}</ul>"
    links = "".join(f'<li><a href="#schema-{name}">{name}</a></li>' for name in document["components"]["schemas"])
    yield f"<h2>schemas</h2><ul>{links}</ul>"


def _operations(document: Document) -> Iterator[str]:
    for tag, operations in _by_tag(document):
        yield f"<h2>{_text(tag['name'])}</h2>{_paragraphs(tag['description'])}"
        for method, path, operation in operations:
            yield f"""<article id="{operation["operationId"]}">
<h3>{_call(method, path)}</h3>
<p><strong>{_text(operation["summary"])}.</strong></p>
{_paragraphs(operation.get("description", ""))}{_access(operation)}
{"".join(_parameters(operation))}{"".join(_body(operation))}
<h4>Example</h4><pre>{_text(_curl(document, method, path, operation))}</pre>
<h4>Answers</h4><dl>{"".join(_answers(document, operation))}</dl>
</article>
"""


def _access(operation: Document) -> str:
    scopes: list[str] = [scope for needed in operation.get("security", ()) for scope in needed["key"]]
    return f"<p>Where keys are needed: one with the scope {_code(scopes[0])}.</p>" if scopes else ""


def _call(method: str, path: str) -> str:
    return f'<span class="method {method}">{method.upper()}</span> <code>{_text(path)}</code>'


def _parameters(operation: Document) -> Iterator[str]:
    given: list[Document] = operation.get("parameters", [])
    for place, title in (("path", "In the address"), ("query", "In the query"), ("header", "Headers")):
        rows = [
            _row(one["name"], one["schema"], one.get("description", ""), required=one["required"])
            for one in given
            if one["in"] == place
        ]
        if rows:
            yield f'<h4>{title}</h4><dl class="wide">{"".join(rows)}</dl>'


def _body(operation: Document) -> Iterator[str]:
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h4>Body</h4><p>{_kind(content['schema'])} <small>as {_text(media_type)}</small></p>"


def _answers(document: Document, operation: Document) -> Iterator[str]:
    for status, answer in operation["responses"].items():
        response = _followed(document, answer)
        yield f"<dt><code>{status}</code> {_text(response['description'])}</dt>"
        shown = [
            f"{_kind(content['schema'])} <small>as {_text(media_type)}</small>"
            for media_type, content in response.get("content", {}).items()
        ]
        headers = [name for name in response["headers"] if name != "X-Request-Id"]
        with_headers = [f"with {', '.join(f'<code>{name}</code>' for name in headers)}"] if headers else []
        yield f"<dd>{', '.join(shown + with_headers) or 'without a body'}</dd>"


def _named_schema(name: str, schema: Document) -> str:
    required: list[str] = schema.get("required", [])
    rows = "".join(
        _row(field, kind, kind.get("description", ""), required=field in required)
        for field, kind in schema.get("properties", {}).items()
    )
    fields = f'<dl class="wide">{rows}</dl>' if rows else f"<p>{_kind(schema)}</p>"
    return f"""<article id="schema-{name}"><h3>{name}</h3>
{_paragraphs(schema.get("description", ""))}{fields}</article>
"""


def _row(name: str, schema: Document, said: str, *, required: bool) -> str:
    mark = " <small>required</small>" if required else ""
    default = schema.get("default")
    otherwise = "" if default is None or required else f" <small>default {_code(default)}</small>"
    return f"<dt><code>{_text(name)}</code>{mark}</dt><dd>{_kind(schema)}{otherwise}<br>{marked(said)}</dd>"


def _kind(schema: Document) -> str:
    """What may stand there, in words."""
    match schema:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            return f'<a href="#schema-{name}">{name}</a>'
        case {"allOf": [first, *_]}:
            return _kind(first) + _types_of_problem(schema)
        case {"anyOf": [*options]}:
            return " or ".join(_kind(option) for option in options)
        case {"enum": [*values]}:
            return " ".join(_code(value) for value in values)
        case {"type": "array", "items": items}:
            return f"list of {_kind(items)}{_limits(schema)}"
        case {"type": str(name)}:
            return f"{name}{_limits(schema)}"
        case _:
            return "any JSON"


def _types_of_problem(schema: Document) -> str:
    types: list[str] = schema["allOf"][1]["properties"]["type"]["enum"]
    return " of type " + " or ".join(f"<code>{_text(name)}</code>" for name in types)


def _limits(schema: Document) -> str:
    said = [words.format(_text(str(schema[name]))) for name, words in _WORDS.items() if name in schema]
    return f" <small>{', '.join(said)}</small>" if said else ""


def _curl(document: Document, method: str, path: str, operation: Document) -> str:
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter["schema"].get("examples", ["1"])[0]))
    call = ["curl"] if method == "get" else ["curl", "-X", method.upper()]
    command = f'{shlex.join(call)} "$DTSCHED_URL{path}"'
    for media_type, content in list(operation.get("requestBody", {}).get("content", {}).items())[:1]:
        body = json.dumps(_example(document, content["schema"]), ensure_ascii=False)
        command += f" \\\n  -H {shlex.quote(f'Content-Type: {media_type}')} \\\n  -d {shlex.quote(body)}"
    return command


def _example(document: Document, schema: Document) -> Any:
    """The first one that is given, or what the required fields make; of alternatives, the first."""
    if "examples" in schema:
        return schema["examples"][0]
    schema = _followed(document, schema)
    if "examples" in schema:
        return schema["examples"][0]
    if "anyOf" in schema:
        return _example(document, schema["anyOf"][0])
    if schema.get("type") == "array":
        return [_example(document, schema["items"])]
    fields: Document = schema.get("properties", {})
    return {name: _example(document, fields[name]) for name in schema.get("required", [])}


def _followed(document: Document, node: Document) -> Document:
    if "$ref" not in node:
        return node
    found: Any = document
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def _paragraphs(text: str) -> str:
    return _joined(f"<p>{marked(part)}</p>" for part in text.split("\n\n") if part)


def marked(text: str) -> str:
    """What stands between backquotes is code."""
    return _joined(
        f"<code>{_text(part)}</code>" if number % 2 else _text(part) for number, part in enumerate(text.split("`"))
    )


def _code(value: object) -> str:
    return f"<code>{_text(json.dumps(value, ensure_ascii=False))}</code>"


def _joined(parts: Iterable[str]) -> str:
    return "".join(parts)


def _text(value: str) -> str:
    return escape(value)
