"""`.env.example` lists every setting, and says its default truly."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dtsched.settings import Settings, load
from tests.packaging.env_example import EXAMPLE, example, names_of_the_settings


def test_it_lists_every_setting_once_and_the_password_of_compose() -> None:
    listed = re.findall(r"(?m)^#?([A-Z_]+)=", EXAMPLE.read_text())
    assert sorted(listed) == sorted(names_of_the_settings() | {"POSTGRES_PASSWORD"})


def test_every_setting_is_explained_in_the_line_above_it() -> None:
    lines = EXAMPLE.read_text().splitlines()
    explained = [lines[number - 1] for number, line in enumerate(lines) if re.match("#?[A-Z_]+=", line)]
    assert all(line.startswith("# ") and line.endswith(".") for line in explained)


def test_a_copy_with_every_line_uncommented_sets_nothing_but_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in names_of_the_settings():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text("\n".join(f"{name}={value}" for name, value in example().items()))
    assert replace(load(folder=tmp_path), origins={}) == Settings()


def test_a_plain_copy_sets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names_of_the_settings():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text(EXAMPLE.read_text())
    assert set(load(folder=tmp_path).origins.values()) == {"default"}
