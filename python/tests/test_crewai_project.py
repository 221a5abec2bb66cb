"""What a project folder holds, by its files alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from segue.adapters.crewai import project
from segue.worker.adapter import Failure


def lay(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x: 1\n")


def test_conventions_in_their_order(tmp_path: Path) -> None:
    lay(tmp_path, "config/agents.yaml", "config/tasks.yml")
    assert project.find(tmp_path).tasks == tmp_path / "config" / "tasks.yml"
    lay(tmp_path, "src/mine/crew.py")
    assert project.find(tmp_path).module == "mine.crew"
    lay(tmp_path, "crew.jsonc")
    assert project.find(tmp_path).definition == tmp_path / "crew.jsonc"


@pytest.mark.parametrize(("path", "module"), [("mine/crew.py", "mine.crew"), ("crew.py", "crew")])
def test_without_src(tmp_path: Path, path: str, module: str) -> None:
    lay(tmp_path, path)
    assert project.find(tmp_path).module == module


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('type = "flow"', "flow, not a crew"),
        ('definition = "gone.jsonc"', "gone.jsonc"),
        ('definition = "pyproject.toml"', "only JSON"),
        ("broken", "pyproject.toml"),
    ],
)
def test_settings_that_cannot_be_followed(tmp_path: Path, settings: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.crewai]\n{settings}\n")
    with pytest.raises(Failure, match=said):
        project.find(tmp_path)


def test_several_crews_ask_which(tmp_path: Path) -> None:
    lay(tmp_path, "src/one/crew.py", "src/two/crew.py")
    with pytest.raises(Failure, match="say which"):
        project.find(tmp_path)


def test_the_root_is_where_the_pyproject_is(tmp_path: Path) -> None:
    lay(tmp_path, "pyproject.toml", "src/mine/crew.py")
    assert project.root_of(tmp_path / "src" / "mine") == tmp_path
    alone = tmp_path / "alone"
    alone.mkdir()
    (tmp_path / "pyproject.toml").unlink()
    assert project.root_of(alone) == alone


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME_OF_TEST=plain", "plain"),
        ("  export NAME_OF_TEST = spaced  ", "spaced"),
        ("NAME_OF_TEST='single $x # y'", "single $x # y"),
        ('NAME_OF_TEST="two\\nlines"', "two\nlines"),
        ("NAME_OF_TEST=value # a comment", "value"),
        ("NAME_OF_TEST=", ""),
        ("# NAME_OF_TEST=no", None),
        ("NAME_OF_TEST", None),
    ],
)
def test_lines_of_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, value: str | None) -> None:
    monkeypatch.setenv("NAME_OF_TEST", "")
    monkeypatch.delenv("NAME_OF_TEST")
    (tmp_path / ".env").write_text(line)
    project.load_env(tmp_path)
    assert os.environ.get("NAME_OF_TEST") == value
