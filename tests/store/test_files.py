"""Locks and the errors of a disk, in one line."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from store.errors import ResourceError, UserError
from store.files import full_disk_named, locked


def test_lock_that_another_holds_is_not_waited_for(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", "another one is at work", ""):  # noqa: SIM117 - the second is refused
        with (
            pytest.raises(ResourceError, match="another one is at work"),
            locked(tmp_path / "lock", "another one is at work", ""),
        ):
            raise AssertionError
    with locked(tmp_path / "lock", "", ""):
        assert (tmp_path / "lock").exists()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_lock_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(self: object, timeout: float) -> None:
        raise OSError(number, "not here")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with (
        pytest.raises(UserError, match=f"{tmp_path}: cannot be written to .*; name another"),
        locked(tmp_path / "lock", "", "name another"),
    ):
        raise AssertionError


def test_full_disk_is_named_where_closing_the_file_fails_in_turn() -> None:
    """As PyTorch's writer does."""

    def write() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise RuntimeError("unexpected pos 832 vs 726")

    with pytest.raises(ResourceError, match="the disk that holds here is full"), full_disk_named("here"):
        write()
