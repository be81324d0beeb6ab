"""How moments, counts and values are written for a reader."""

from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import msgspec


def at(moment: datetime) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="milliseconds")


def breaker(open_until: datetime | None) -> str:
    """Empty for one that is closed."""
    if open_until is None:
        return ""
    return f"open until {at(open_until)}" if open_until > datetime.now(UTC) else "half open: one job tries at a time"


def at_second(moment: datetime) -> str:
    """Local time, without its zone: for a column of a terminal."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def jobs(count: int, *, or_more: bool = False) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}{' or more' if or_more else ''}"


def seconds(duration: float) -> str:
    """Such as 0.4 s, 59 s, 1:02:03."""
    if duration < 60:
        return f"{duration:.1f} s" if duration < 10 else f"{duration:.0f} s"
    minutes, rest = divmod(int(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shown(value: object) -> str | None:
    """None for what is not set."""
    if value is None or value == []:
        return None
    if isinstance(value, datetime):
        return at(value)
    if isinstance(value, str | UUID):
        return str(value)
    return msgspec.json.encode(value).decode()


BAR = 20


def progress_text(progress: object, *, bar: bool = False) -> str:
    """Such as `40% 40 of 100`, with a bar before it if asked; what report() did not write, as it is."""
    if not isinstance(progress, dict):
        return shown(progress) or ""
    values = cast("dict[str, object]", progress)
    percent, message = values.get("percent"), values.get("message")
    parts: list[str] = []
    if isinstance(percent, (int, float)) and 0 <= percent <= 100:
        full = round(percent * BAR / 100)
        parts += [f"{'█' * full}{'░' * (BAR - full)}"] if bar else []
        parts.append(f"{percent:g}%")
    if isinstance(message, str):
        parts.append(message)
    return " ".join(parts) or shown(values) or ""
