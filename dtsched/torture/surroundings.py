"""What the runner tells each process of a run, by its environment."""

import os
from pathlib import Path


def seed_of_run() -> int:
    return int(os.environ["DTSCHED_TORTURE_SEED"])


def folder_of_run() -> Path:
    return Path(os.environ["DTSCHED_TORTURE_DIR"])


def history_of_run() -> Path:
    """Where the processes of a run write what they do."""
    folder = folder_of_run() / "history"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def poison_is_wanted() -> bool:
    return os.environ.get("DTSCHED_TORTURE_POISON") == "1"


def urls_of_run() -> list[str]:
    """Of the APIs: whoever asks one that fails asks another one then."""
    return [url.strip().rstrip("/") for url in os.environ.get("DTSCHED_URL", "").split(",") if url.strip()]
