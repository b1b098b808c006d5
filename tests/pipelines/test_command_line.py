"""What reaches a program, and what it says when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.command_line import run_program


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("--out=~/x", "--out={home}/x"),  # no shell expands it
        ("~/x", "{home}/x"),  # of a list of arguments that no shell has seen
        ("--class=~", "--class=~"),
        ("a~/x", "a~/x"),
        ("--set=label=~/x", "--set=label=~/x"),
    ],
)
def test_folder_of_the_person_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, taken: str) -> None:
    received: list[str] = []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["program", given])
    with pytest.raises(SystemExit):
        run_program(lambda arguments, **_: received.extend(arguments), "program")
    assert received == [taken.format(home=tmp_path)]


@pytest.mark.parametrize(("command", "said"), [("build", "goes on from here"), ("export", "begins anew")])
def test_interruption_says_what_the_same_command_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, said: str
) -> None:
    monkeypatch.setattr("sys.argv", ["program", command])
    with pytest.raises(SystemExit) as stopped:
        run_program(lambda arguments, **_: 130, "program", resumable=("build",))
    assert stopped.value.code == 130
    assert capsys.readouterr().err == f"program: interrupted; the same command {said}\n"
