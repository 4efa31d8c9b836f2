"""The settings file."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffprog import config
from diffprog.errors import UsageError


def test_without_a_file_nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.read(None) == config.Config()


def test_the_file_here_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("diffprog.toml").write_text('[julia]\nexecutable = "/j"\nproject = "/p"\n')
    assert config.read(None) == config.Config("/j", "/p")


@pytest.mark.parametrize("text", ["[julia]\nexecutble = 'x'", "x = 1", "[julia]\nexecutable = 1", "[[["])
def test_mistakes_are_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"some\.toml"):
        config.read(path)
    with pytest.raises(UsageError, match="cannot read"):
        config.read(tmp_path / "absent.toml")
