"""Downloads from servers that misbehave: the folder ends as published, or one line says what is wrong."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path

import pytest

from ecgprep.build import build
from ecgprep.config import Prepare
from ecgprep.datasets import get_database
from ecgprep.datasets.base import Found
from ecgprep.datasets.icentia11k import Icentia11k
from ecgprep.datasets.mitdb import DS1, DS2, PACED, MitBih
from ecgprep.datasets.ptbxl import PtbXl
from ecgprep.download import databases, sources, transfer
from ecgprep.download.databases import Options, Wish, download, is_downloading, only_downloads
from ecgprep.download.sources import FolderSource, NotNowError, Patience, TryAgainError
from ecgprep.synth import write_like
from ecgprep.synth.ptbxl import write_ptbxl
from pipelines.workspace import Workspace
from store.errors import ResourceError, UnknownNameError, UserError
from tests.ecgprep.faulty_server import (
    Fault,
    FaultyServer,
    answer,
    drip,
    drop,
    gives,
    ignore_range,
    redirect,
    running,
    stall,
    status,
    web_page,
    wrong_byte,
    wrong_bytes_of_range,
    wrong_range,
)
from tests.recordings import write_mitdb

MITDB_RECORDS = f"{DS1} {DS2} {PACED}".split()
QUICK = Patience(connect_s=1, read_s=0.25, min_bytes_per_s=200, attempts=4, first_wait_s=0.01, longest_wait_s=1.5)
AT = "/mitdb/1.0.0/"
LIST = f"{AT}SHA256SUMS.txt"
DAT = f"{AT}101.dat"


class ThreeRecords(MitBih):
    """MIT-BIH with as many records as the tests publish."""

    published_records = 3
    mean_record_bytes = 20_000


def published(seed: int = 0) -> dict[str, bytes]:
    """Return the files of three records, and some that belong to none."""
    random_bytes = random.Random(seed).randbytes
    files = {f"{name}{suffix}": random_bytes(5000) for name in (100, 101, 102) for suffix in (".hea", ".dat", ".atr")}
    return files | {"100.xws": b"settings", "RECORDS": b"100\n101\n102\n", "mitdbdir/a b.htm": b"<html>of 100</html>"}


def checksums(files: dict[str, bytes]) -> bytes:
    return "".join(
        f"{hashlib.sha256(content).hexdigest()} {path}\n" for path, content in sorted(files.items())
    ).encode()


def publish(server: FaultyServer, files: dict[str, bytes], at: str = AT) -> None:
    server.files |= {at + path.replace(" ", "%20"): content for path, content in files.items()}
    server.files[f"{at}SHA256SUMS.txt"] = checksums(files)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with running() as server:
        publish(server, published())
        yield server


@pytest.fixture
def wish(tmp_path: Path) -> Wish:
    database = ThreeRecords()
    return Wish(database, database.resolve(Prepare(dataset="mitdb")), tmp_path / "raw/mitdb")


@pytest.fixture
def options(server: FaultyServer) -> Options:
    return Options(mirror=server.url, offline=True, patience=QUICK)


def wanted(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if not path.endswith((".xws", ".htm"))}


def here(folder: Path) -> dict[str, bytes]:
    """Return the folder's files, but the list and what starts with a dot."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if not path.name.startswith(".") and name != "SHA256SUMS.txt"
    }


def test_every_wanted_file_comes_as_published(server: FaultyServer, wish: Wish, options: Options) -> None:
    said: list[str] = []
    steps: list[tuple[str, int, int]] = []
    (done,) = download([wish], options, said.append, lambda *step: steps.append(step))
    assert here(wish.folder) == wanted(published())
    assert (done.n_files, done.n_new) == (10, 10)
    assert not is_downloading(wish.folder)
    (line,) = said
    assert all(part in line for part in ("MIT-BIH", "ODC-By 1.0", "10 files, about 60 kB", str(wish.folder)))
    assert steps[-1] == ("downloading files", 10, 10)
    server.requests.clear()
    (again,) = download([wish], options)
    assert again.n_new == 0
    assert set(server.requests) == {LIST}, "what is here and unchanged is not asked for"


@pytest.mark.parametrize("optional", [False, True], ids=["read by a build", "all"])
def test_optional_files_come_when_asked_for(server: FaultyServer, wish: Wish, options: Options, optional: bool) -> None:
    download([wish], replace(options, optional=optional))
    assert here(wish.folder) == (published() if optional else wanted(published()))


FAULTS: dict[str, list[Fault]] = {
    "connection dropped": [drop(700)],
    "dropped again and again": [drop(400)] * 12,
    "dropped before the first byte": [drop(0)] * 3,
    "stalled": [stall(1000, 0.6)],
    "one byte at a time": [drip(0.02)],
    "no ranges": [drop(900), ignore_range],
    "another range": [drop(900), wrong_range],
    "range of wrong bytes": [drop(900), wrong_bytes_of_range],
    "range too far": [drop(900), status(416)],
    "busy": [status(503)] * 3,
    "busy for a second": [status(429, {"Retry-After": "1"})],
    "busy until a date": [status(503, {"Retry-After": format_datetime(datetime(2000, 1, 1, tzinfo=UTC), usegmt=True)})],
    "Retry-After in words": [status(503, {"Retry-After": "soon"})],
    "Retry-After in raised digits": [status(503, {"Retry-After": "²"})],
    "range in raised digits": [drop(900), lambda handler: answer(handler, 206, b"", {"Content-Range": "bytes ²-9/10"})],
    "server error": [status(500), status(502), status(504)],
    "wrong byte, once": [wrong_byte],
    "wrong byte, then dropped": [wrong_byte, drop(100), wrong_byte, drop(4000)],
    "web page, once": [web_page],
    "redirected": [redirect("/elsewhere")],
}


@pytest.mark.parametrize("path", [DAT, LIST], ids=["of a file", "of the list"])
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_overcome(server: FaultyServer, wish: Wish, options: Options, fault: str, path: str) -> None:
    server.files["/elsewhere"] = server.files[path]
    server.faults[path].extend(FAULTS[fault])
    download([wish], options)
    assert len(server.faults[path]) < len(FAULTS[fault])
    assert here(wish.folder) == wanted(published())
    assert not list(wish.folder.rglob("*.part"))


def test_transfer_goes_on_where_it_stopped(server: FaultyServer, wish: Wish, options: Options) -> None:
    server.faults[DAT].append(drop(3000))
    download([wish], options)
    assert (DAT, "bytes=3000-") in server.ranges
    assert server.sent[DAT] == 5000, "no byte is sent twice"


@pytest.mark.parametrize("faults", [[drop(900), ignore_range], [wrong_byte]], ids=["no ranges", "wrong byte"])
def test_file_that_cannot_be_gone_on_with_is_begun_anew(
    server: FaultyServer, wish: Wish, options: Options, faults: list[Fault]
) -> None:
    server.faults[DAT].extend(faults)
    download([wish], options)
    assert server.requests[DAT] == 2, "nothing is asked for behind bytes that do not count"


LASTING: dict[str, tuple[Fault, str]] = {
    "dropped for ever": (drop(0), "the connection broke"),
    "stalled for ever": (stall(0, 0.5), "the connection broke"),
    "wrong byte": (wrong_byte, "gives wrong bytes: its SHA-256 is not the published one"),
    "web page": (web_page, "gives wrong bytes: a web page came instead of the file"),
    "absent": (status(404), "answers 404"),
    "forbidden": (status(403), "answers 403"),
    "busy for ever": (status(503), "answers 503"),
    "busy for an hour": (status(429, {"Retry-After": "3600"}), "asks for 3600 s of rest"),
    "busy until the next day": (
        status(503, {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)}),
        "of rest",
    ),
    "redirected in a circle": (redirect(DAT), "does not give it"),
    "another range, whatever is asked": (wrong_range, "another range"),
}


@pytest.mark.parametrize("fault", LASTING)
def test_lasting_fault_is_named_and_the_next_call_goes_on(
    server: FaultyServer, wish: Wish, options: Options, fault: str
) -> None:
    server.always[DAT], reason = LASTING[fault]
    with pytest.raises(ResourceError) as stopped:
        download([wish], options)
    line = str(stopped.value)
    assert "\n" not in line
    assert reason in line
    assert "of 10 files are missing" in line
    assert str(wish.folder / "101.dat") in line
    assert is_downloading(wish.folder)
    assert set(here(wish.folder).items()) <= set(wanted(published()).items()), "no wrong file has got its name"
    server.always.clear()
    download([wish], options)
    assert here(wish.folder) == wanted(published())
    assert not is_downloading(wish.folder)


def test_busy_server_is_asked_as_often_as_patience_says(server: FaultyServer, wish: Wish, options: Options) -> None:
    server.always[DAT] = status(503)
    with pytest.raises(ResourceError):
        download([wish], options)
    assert server.requests[DAT] == QUICK.attempts


@pytest.mark.parametrize("in_vain", range(9))
def test_rests_are_doubled_and_drawn_beside_what_is_asked_for(in_vain: int) -> None:
    patience = Patience(first_wait_s=1.0, longest_wait_s=100.0)
    longest_s = min(2.0**in_vain, 100.0)
    for error, asked_s in ((TryAgainError("broke"), 0.0), (NotNowError("busy", 7.0), 7.0)):
        rests_s = [transfer._rest_s(error, in_vain, patience) - asked_s for _ in range(50)]
        assert longest_s / 2 <= min(rests_s) < max(rests_s) <= longest_s


def test_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.dat").write_bytes(b"new")
    target = tmp_path / "here/x.dat"
    job = transfer.Transfer("x.dat", target, transfer.partial_of(target, "0" * 64), lambda file: None)
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        transfer.fetch(transfer.Sources([FolderSource(tmp_path)]), job, QUICK, threading.Event())
    assert not target.exists()


LISTS: dict[str, tuple[bytes, str]] = {
    "cut in mid-line": (checksums(published())[:-8], "ends in mid-line"),
    "cut in mid-sum": (checksums(published())[:200], "is not '<SHA-256> <path>'"),
    "cut between lines": (b"".join(checksums(published()).splitlines(keepends=True)[:4]), "names 1 of 3 records"),
    "empty": (b"", "it is empty"),
    "web page": (b"<html>log in</html>", "a web page"),
    "not text": (b"\xff\xfe\x00\n", "line 1 is not"),
    "path out of the folder": (b"0" * 64 + b" ../../etc/passwd\n", "line 1 is not"),
    "two sums of a file": (checksums(published()) + b"0" * 64 + b" 101.dat\n", "names 101.dat twice"),
    "zero in a name": (b"0" * 64 + b" 101\0.dat\n", "line 1 is not"),
    "absolute path": (b"0" * 64 + b" /etc/passwd\n", "line 1 is not"),
}


@pytest.mark.parametrize("fault", LISTS)
def test_bad_list_stops_before_the_first_file(server: FaultyServer, wish: Wish, options: Options, fault: str) -> None:
    content, reason = LISTS[fault]
    server.always[LIST] = gives(content)
    with pytest.raises(ResourceError, match=reason.replace("(", r"\(")):
        download([wish], options)
    assert set(server.requests) == {LIST}
    assert not wish.folder.exists()
    server.always.clear()
    download([wish], options)
    assert here(wish.folder) == wanted(published())


def upper_sums(content: bytes) -> bytes:
    return b"".join(line[:64].upper() + line[64:] for line in content.splitlines(keepends=True))


@pytest.mark.parametrize(
    "written",
    [
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: content.replace(b" ", b" *"),
        upper_sums,
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content + content,
    ],
    ids=["line ends of Windows", "marks of binary files", "capitals", "byte order mark", "every line twice"],
)
def test_list_may_be_written_in_other_ways(
    server: FaultyServer, wish: Wish, options: Options, written: Callable[[bytes], bytes]
) -> None:
    files = wanted(published())
    server.files[LIST] = written(checksums(files))
    download([wish], options)
    assert here(wish.folder) == files


def test_only_one_download_of_a_database_at_a_time(server: FaultyServer, wish: Wish, options: Options) -> None:
    with only_downloads([wish]), pytest.raises(ResourceError, match=r"another download to .*mitdb is under way"):
        download([wish], options)
    download([wish], options)
    assert here(wish.folder) == wanted(published())


@pytest.mark.parametrize("path", ["mitdb", "mitdb/101.dat/x", "mitdb/SHA256SUMS.txt/x"])
def test_what_is_in_the_way_of_a_file_is_named(server: FaultyServer, wish: Wish, options: Options, path: str) -> None:
    in_the_way = wish.folder.parent / path
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("mine")
    with pytest.raises(UserError, match=r"mitdb.*see that it can be written, or name another --home"):
        download([wish], options)
    assert in_the_way.read_text() == "mine"


def test_damaged_notes_of_what_is_checked_are_made_anew(server: FaultyServer, wish: Wish, options: Options) -> None:
    download([wish], options)
    (wish.folder / ".checked").write_bytes(b"\xff\xfe\0")
    (done,) = download([wish], options)
    assert done.n_new == 0
    assert here(wish.folder) == wanted(published())


def test_changed_list_brings_what_has_changed(server: FaultyServer, wish: Wish, options: Options) -> None:
    download([wish], options)
    changed = published() | {"101.dat": b"corrected", "103.hea": b"new", "103.dat": b"new"}
    publish(server, changed)
    server.requests.clear()
    (done,) = download([wish], options)
    assert done.n_new == 3
    assert here(wish.folder) == wanted(changed)
    assert set(server.requests) == {LIST, DAT, f"{AT}103.hea", f"{AT}103.dat"}


def test_bytes_of_another_version_are_not_gone_on_with(server: FaultyServer, wish: Wish, options: Options) -> None:
    server.faults[DAT].append(drop(1000))
    server.always[DAT] = drop(0)
    with pytest.raises(ResourceError):
        download([wish], options)
    assert list(wish.folder.glob(".101.dat.*.part"))
    server.always.clear()
    changed = published() | {"101.dat": random.Random(9).randbytes(5000)}
    publish(server, changed)
    server.ranges.clear()
    download([wish], options)
    assert (DAT, "") in server.ranges
    assert here(wish.folder) == wanted(changed)
    assert not list(wish.folder.rglob("*.part"))


def test_list_that_runs_ahead_of_the_files(server: FaultyServer, wish: Wish, options: Options) -> None:
    """A mirror in mid-update: the list names bytes that are not there yet."""
    server.files[LIST] = checksums(published() | {"101.dat": b"to come"})
    with pytest.raises(ResourceError, match="gives wrong bytes"):
        download([wish], options)
    assert "101.dat" not in here(wish.folder)
    server.files[DAT] = b"to come"
    (done,) = download([wish], options)
    assert done.n_new == 1
    assert here(wish.folder)["101.dat"] == b"to come"


def test_check_repairs_just_what_is_wrong(server: FaultyServer, wish: Wish, options: Options) -> None:
    download([wish], options)
    state = (wish.folder / "100.dat").stat()
    content = bytearray((wish.folder / "100.dat").read_bytes())
    content[7] ^= 4
    (wish.folder / "100.dat").write_bytes(content)
    os.utime(wish.folder / "100.dat", ns=(state.st_atime_ns, state.st_mtime_ns))
    (wish.folder / "102.atr").unlink()
    (wish.folder / "101.hea").write_bytes(b"short")
    server.requests.clear()
    (done,) = download([wish], replace(options, check=True))
    assert done.n_new == 3
    assert set(server.requests) == {LIST, f"{AT}100.dat", f"{AT}102.atr", f"{AT}101.hea"}
    assert here(wish.folder) == wanted(published())


def test_files_that_were_put_here_by_hand_are_checked_once(server: FaultyServer, wish: Wish, options: Options) -> None:
    wish.folder.mkdir(parents=True)
    for path, content in wanted(published()).items():
        (wish.folder / path).write_bytes(content if path != "100.dat" else b"of another database")
    (done,) = download([wish], options)
    assert done.n_new == 1
    assert set(server.requests) == {LIST, f"{AT}100.dat"}
    assert here(wish.folder) == wanted(published())


def test_only_some_records(server: FaultyServer, wish: Wish, options: Options) -> None:
    download([wish], replace(options, records=("101",)))
    assert set(here(wish.folder)) == {"101.hea", "101.dat", "101.atr", "RECORDS"}
    with pytest.raises(UnknownNameError, match="Did you mean '102'"):
        download([wish], replace(options, records=("1022",)))
    (done,) = download([wish], options)
    assert done.n_new == 6


def test_records_by_folder_and_rate(tmp_path: Path) -> None:
    class SmallPtbXl(PtbXl):
        published_records = 3

    names = [
        f"records{rate}/{folder}/{record}"
        for rate, kind in ((100, "lr"), (500, "hr"))
        for folder, record in (("00000", f"00001_{kind}"), ("00000", f"00002_{kind}"), ("01000", f"01000_{kind}"))
    ]
    files = {name + suffix: name.encode() for name in names for suffix in (".hea", ".dat")} | {"a.csv": b"table"}
    database = SmallPtbXl()
    with running() as server:
        publish(server, files, "/ptb-xl/1.0.3/")
        options = Options(mirror=server.url, offline=True, patience=QUICK)
        for fs, records, expected in (
            (100, (), names[:3]),
            (500, ("01000",), names[5:]),
            (100, ("records100/00000/00002_lr",), names[1:2]),
        ):
            folder = tmp_path / f"{fs}{len(records)}"
            download(
                [Wish(database, database.resolve(Prepare(dataset="ptbxl", fs=fs)), folder)],
                replace(options, records=records),
            )
            assert set(here(folder)) == {name + suffix for name in expected for suffix in (".hea", ".dat")} | {"a.csv"}


class SmallIcentia(Icentia11k):
    """Icentia11k with as many segments as the tests publish."""

    published_records = 6


ICENTIA_AT = "/icentia11k-continuous-ecg/1.0/"
SEGMENTS = [f"p0{n // 1000}/p{n:05d}/p{n:05d}_s0{segment}" for n in (0, 1, 2000) for segment in (0, 1)]


@pytest.mark.parametrize(
    ("patients", "records", "expected"),
    [
        (None, (), SEGMENTS),
        ("0-0", (), SEGMENTS[:2]),
        ("0-1", ("p00001",), SEGMENTS[2:4]),
        (None, ("p02", "p00000_s01"), [SEGMENTS[1], *SEGMENTS[4:]]),
        (None, ("p00/p00001/p00001_s00",), SEGMENTS[2:3]),
    ],
)
def test_patients_and_records_of_icentia(
    tmp_path: Path, patients: str | None, records: tuple[str, ...], expected: list[str]
) -> None:
    """Each file of a server that drops, lies and is busy; then the other patients beside those that are here."""
    files = {name + suffix: name.encode() * 9 for name in SEGMENTS for suffix in (".hea", ".dat", ".atr")}
    database, faults = SmallIcentia(), [drop(9), wrong_byte, status(503), drop(50), wrong_bytes_of_range]
    with running() as server:
        publish(server, files, ICENTIA_AT)
        for number, path in enumerate(files):
            server.faults[ICENTIA_AT + path].extend(faults[number % 3 :])
        options = Options(mirror=server.url, offline=True, patience=QUICK, records=records)
        wish = Wish(database, database.resolve(Prepare(dataset="icentia11k", patients=patients)), tmp_path / "raw")
        download([wish], options)
        assert set(here(wish.folder)) == {name + suffix for name in expected for suffix in (".hea", ".dat", ".atr")}
        download([replace(wish, prepare=Prepare(dataset="icentia11k"))], replace(options, records=()))
        assert here(wish.folder) == files


def test_few_transfers_are_made_ahead(
    server: FaultyServer, wish: Wish, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Icentia11k's 1.6 million; each takes a kilobyte."""
    made: list[int] = []
    job = databases._job
    monkeypatch.setattr(databases, "_job", lambda *of: made.append(1) or job(*of))
    steps: list[tuple[int, int]] = []
    download([wish], replace(options, connections=2), progress=lambda _, done, total: steps.append((done, len(made))))
    assert steps[-1] == (10, 10)
    assert all(n_made <= done + 2 for done, n_made in steps)


def test_sources_are_asked_in_order(
    server: FaultyServer, wish: Wish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder has two files, the bucket all but one, which it gives wrong, PhysioNet has that one."""
    folder = tmp_path / "mirror/mitdb"
    folder.mkdir(parents=True)
    for name in ("100.dat", "100.hea"):
        (folder / name).write_bytes(published()[name])
    with running() as physionet:
        monkeypatch.setattr(sources, "BUCKET", server.url)
        monkeypatch.setattr(sources, "PHYSIONET", physionet.url)
        server.always[DAT] = wrong_byte
        physionet.files[DAT] = published()["101.dat"]
        download([wish], Options(mirror=str(tmp_path / "mirror"), patience=QUICK))
        assert here(wish.folder) == wanted(published())
        assert f"{AT}100.dat" not in server.requests
        assert set(physionet.requests) == {DAT}


def test_bucket_that_cannot_be_reached_is_left_out(
    server: FaultyServer, wish: Wish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BUCKET", "http://127.0.0.1:9")
    monkeypatch.setattr(sources, "PHYSIONET", server.url)
    start = time.monotonic()
    download([wish], Options(patience=replace(QUICK, first_wait_s=0.1)))
    assert here(wish.folder) == wanted(published())
    assert time.monotonic() - start < 2, "it is not tried again for each file"


def test_without_a_network_one_line_and_nothing_left_behind(wish: Wish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BUCKET", "http://127.0.0.1:9")
    monkeypatch.setattr(sources, "PHYSIONET", "http://127.0.0.1:9")
    with pytest.raises(ResourceError, match=r"mitdb cannot be downloaded, no source answers: .* cannot be reached"):
        download([wish], Options(patience=QUICK))
    assert not wish.folder.exists()


def test_offline_says_what_is_missing(server: FaultyServer, wish: Wish, options: Options) -> None:
    offline = Options(offline=True, patience=QUICK)
    with pytest.raises(ResourceError, match="go online"):
        download([wish], offline)
    download([wish], options)
    (done,) = download([wish], offline)
    assert done.n_new == 0
    for name in ("100.atr", "102.dat"):
        (wish.folder / name).unlink()
    with pytest.raises(ResourceError, match=r"2 of 10 files are missing \(.*100.atr, .*102.dat\)"):
        download([wish], offline)


def test_offline_says_what_is_damaged(server: FaultyServer, wish: Wish, options: Options) -> None:
    """Also where the disk changed the bytes alone, and also to the next call, which does not read every file."""
    download([wish], options)
    (wish.folder / "100.atr").unlink()
    damaged = wish.folder / "101.dat"
    before = damaged.stat()
    damaged.write_bytes(bytes(before.st_size))
    os.utime(damaged, ns=(before.st_atime_ns, before.st_mtime_ns))
    for check in (True, False):
        with pytest.raises(
            ResourceError,
            match=r"^1 of 10 files are missing \(\S*100\.atr\), 1 of 10 files are damaged \(\S*101\.dat\); .*go online",
        ):
            download([wish], Options(offline=True, check=check, patience=QUICK))
    (done,) = download([wish], options)
    assert (done.n_new, here(wish.folder)) == (2, wanted(published()))


def test_offline_question_changes_nothing(server: FaultyServer, wish: Wish, options: Options) -> None:
    """What was built from before can be built from still: no download is said to be under way."""
    download([wish], replace(options, records=("100",)))
    before = {path: path.read_bytes() for path in wish.folder.rglob("*") if path.is_file()}
    with pytest.raises(ResourceError, match="6 of 10 files are missing"):
        download([wish], Options(offline=True, patience=QUICK))
    assert {path: path.read_bytes() for path in wish.folder.rglob("*") if path.is_file()} == before


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write to a folder; root, who may write anywhere, is kept off by a mount."""
    if os.geteuid():
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    if subprocess.run(["mount", "--bind", str(folder), str(folder)], capture_output=True, check=False).returncode:
        pytest.skip("root needs mounts")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True, timeout=20)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=20)


@pytest.mark.skipif(os.name == "nt", reason="has no folders that are read only")
@pytest.mark.parametrize("where", ["its own", "the one above", "by hand"])
def test_complete_folder_may_be_read_only(server: FaultyServer, wish: Wish, options: Options, where: str) -> None:
    download([wish], options)
    if where == "by hand":
        (wish.folder / ".checked").unlink()
    with read_only(wish.folder.parent if where == "the one above" else wish.folder):
        for check in (False, True):
            (done,) = download([wish], replace(options, check=check))
            assert (done.n_files, done.n_new) == (10, 0)
    (wish.folder / "101.dat").write_bytes(b"damaged")
    with read_only(wish.folder), pytest.raises(UserError, match="see that it can be written, or name another --home"):
        download([wish], options)


def test_server_that_goes_away_stops_all(server: FaultyServer, wish: Wish, options: Options) -> None:
    for path in wanted(published()):
        server.always[AT + path] = status(503)
    with pytest.raises(ResourceError, match="10 of 10 files are missing"):
        download([wish], replace(options, connections=1))
    assert len(server.requests) < 4, "the other files are not tried"


def test_several_databases_share_one_progress(server: FaultyServer, wish: Wish, options: Options) -> None:
    steps: list[tuple[str, int, int]] = []
    other = replace(wish, folder=wish.folder.with_name("other"))
    download([wish, other], options, progress=lambda *step: steps.append(step))
    assert steps[-1] == ("downloading files", 20, 20)
    assert here(other.folder) == here(wish.folder) == wanted(published())
    (wish.folder / "100.dat").unlink()
    steps.clear()
    download([wish, other], replace(options, check=True), progress=lambda *step: steps.append(step))
    checked = {what: (done, total) for what, done, total in steps if what.startswith("checking")}
    assert checked == {"checking files of mitdb": (9, 9), "checking files of other": (10, 10)}, "a bar has one total"


class Huge(ThreeRecords):
    """Records of a terabyte."""

    mean_record_bytes = 10**12


def test_size_is_asked_and_space_looked_at_first(server: FaultyServer, wish: Wish, options: Options) -> None:
    huge = replace(wish, database=Huge())
    said: list[str] = []
    with pytest.raises(UserError, match="about 3 TB are to be downloaded; add --yes"):
        download([huge], options, said.append)
    assert "3 TB" in said[0]
    with pytest.raises(ResourceError, match=r"3 TB are to be downloaded and .* are free"):
        download([huge], replace(options, yes=True))
    assert set(server.requests) == {LIST}
    assert not wish.folder.exists(), "a build would take what is left for the database"


def test_space_is_looked_at_on_each_disk(server: FaultyServer, wish: Wish, options: Options) -> None:
    small = replace(wish, folder=wish.folder.with_name("small"))
    small.folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(small.folder)]
    if os.name == "nt" or subprocess.run(mount, capture_output=True, check=False, timeout=20).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(ResourceError, match=r"small: about 60 kB are to be downloaded and 32\.8 kB are free"):
            download([wish, small], options)
        assert set(server.requests) == {LIST}
    finally:
        subprocess.run(["umount", str(small.folder)], check=True, timeout=20)


def test_full_disk_is_named_and_the_next_call_goes_on(server: FaultyServer, wish: Wish, options: Options) -> None:
    wish.folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(wish.folder)]
    if os.name == "nt" or subprocess.run(mount, capture_output=True, check=False, timeout=20).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(ResourceError, match="is full; free space"):
            download([replace(wish, database=Tiny())], options)
        subprocess.run(["mount", "-o", "remount,size=1m", str(wish.folder)], check=True, timeout=20)
        download([wish], options)
        assert here(wish.folder) == wanted(published())
    finally:
        subprocess.run(["umount", str(wish.folder)], check=True, timeout=20)


class Tiny(ThreeRecords):
    """Records that are larger than they say."""

    mean_record_bytes = 1


def test_synthetic_folder_and_unpublished_database_are_refused(wish: Wish, options: Options) -> None:
    wish.folder.mkdir(parents=True)
    (wish.folder / "SYNTHETIC").touch()
    with pytest.raises(UserError, match="holds synthetic recordings"):
        download([wish], options)

    class Own(ThreeRecords):
        url = "https://example.org"

    with pytest.raises(UserError, match="nothing to download"):
        download([replace(wish, database=Own(), folder=wish.folder.with_name("own"))], options)
    with pytest.raises(UserError, match="neither a folder nor"):
        download([replace(wish, folder=wish.folder.with_name("other"))], replace(options, mirror="/absent"))


KILLED = (
    "import sys\n"
    "from pathlib import Path\n"
    "from tests.ecgprep.test_download import *\n"
    "base = ThreeRecords()\n"
    "options = Options(mirror=sys.argv[1], offline=True, patience=replace(QUICK, read_s=30), connections=2)\n"
    "download([Wish(base, base.resolve(Prepare(dataset='mitdb')), Path(sys.argv[2]))], options)\n"
)


def stopped_in_mid_transfer(server: FaultyServer, folder: Path, by: signal.Signals) -> bytes:
    """Stop a download that waits for the rest of a file; return what it says, within half its time-out."""
    server.faults[DAT].append(stall(2000, 20))
    command = [sys.executable, "-c", KILLED, server.url, str(folder)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)
    until = time.monotonic() + 30
    while not [path for path in folder.glob(".101.dat.*.part") if path.stat().st_size == 2000]:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(by)
    return process.communicate(timeout=15)[1]


@pytest.mark.parametrize(("by", "said"), [(signal.SIGKILL, b""), (signal.SIGINT, b"KeyboardInterrupt")])
def test_stopped_in_mid_transfer_goes_on(
    server: FaultyServer, wish: Wish, options: Options, by: signal.Signals, said: bytes
) -> None:
    assert said in stopped_in_mid_transfer(server, wish.folder, by)
    assert is_downloading(wish.folder)
    assert "101.dat" not in here(wish.folder)
    download([wish], options)
    assert (DAT, "bytes=2000-") in server.ranges
    assert here(wish.folder) == wanted(published())


def ecgprep(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    code = "from ecgprep.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_command_line_says_the_size_first_and_prints_the_folder(server: FaultyServer, tmp_path: Path) -> None:
    folder = tmp_path / "mirror/mitdb"
    folder.mkdir(parents=True)
    files = {f"{100 + i}{suffix}": b"x" for i in range(48) for suffix in (".hea", ".dat", ".atr")}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "SHA256SUMS.txt").write_bytes(checksums(files))
    options = ("download", "mitdb", "mitdb", "--from", tmp_path / "mirror", "--offline", "--home", tmp_path / "home")
    done = ecgprep(*options, "--records", "100,147")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'home/raw/mitdb'}\n")
    assert done.stderr.startswith("mitdb: MIT-BIH Arrhythmia Database; licence ODC-By 1.0; https://physionet.org/")
    assert set(here(tmp_path / "home/raw/mitdb")) == {name for name in files if name[:3] in ("100", "147")}
    (folder / "120.dat").unlink()
    done = ecgprep(*options)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith("ecgprep: 1 of 144 files are missing")


def test_build_downloads_what_is_not_here_first(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in mid-download, it goes on downloading; it does not build the part."""
    write_mitdb(tmp_path / "published", [f"{number}" for number in MITDB_RECORDS], seconds=8)
    files = {path.name: path.read_bytes() for path in (tmp_path / "published/mitdb").iterdir()}
    server.files.clear()
    publish(server, files)
    prepare, workspace = Prepare(dataset="mitdb", workers=0), Workspace(tmp_path / "home")
    fetch = partial(download, options=Options(mirror=server.url, offline=True, patience=QUICK))
    server.always[DAT] = drop(0)
    with pytest.raises(ResourceError, match=r"1 of \d+ files are missing"):
        build(prepare, workspace, download=fetch)
    server.always.clear()
    made = build(prepare, workspace, download=fetch)
    assert made.plan.attributes["card"]["databases"][0]["records_used"] == 48
    server.requests.clear()
    listed: list[Path] = []
    find = MitBih.find

    def count(database: MitBih, folder: Path, prepare: Prepare) -> Found:
        listed.append(folder)
        return find(database, folder, prepare)

    monkeypatch.setattr(MitBih, "find", count)
    assert build(prepare, workspace, download=fetch).digest == made.digest
    assert not server.requests, "what is here is built from without a look at the network"
    assert len(listed) == 1, "the list of PTB-XL's records takes a second"


def published_by(server: FaultyServer, folder: Path, at: str) -> None:
    server.files.clear()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    publish(server, {name: path.read_bytes() for name, path in files.items() if name != "SYNTHETIC"}, at)


def test_build_downloads_the_part_that_is_not_here(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another rate, or other patients: a folder that holds none of them is as good as none."""
    workspace = Workspace(tmp_path / "home")
    fetch = partial(download, options=Options(mirror=server.url, offline=True, patience=QUICK))
    write_ptbxl(tmp_path, n_records=40, rates=(100, 500))
    published_by(server, tmp_path / "ptb-xl", "/ptb-xl/1.0.3/")
    monkeypatch.setattr(PtbXl, "published_records", 40)
    for fs in (100, 500, 100):
        made = build(Prepare(dataset="ptbxl", fs=fs, workers=0), workspace, download=fetch)
        assert made.plan.n_rows == 40
    write_like("icentia11k", tmp_path, n_minutes=2, n_records=4, seed=0)
    published_by(server, tmp_path / "icentia11k-continuous-ecg", ICENTIA_AT)
    for patients in ("0-0", "10999-10999"):
        build(Prepare(dataset="icentia11k", patients=patients, workers=0), workspace, download=fetch)
    made = build(Prepare(dataset="icentia11k", patients="0-9", workers=0), workspace, download=fetch)
    (about,) = made.plan.attributes["card"]["databases"]
    assert about["note"] == "--patients 0-9: 9 of these 10 patients are not here"


@pytest.mark.parametrize("dataset", ["mitdb,wfdb", "wfdb,mitdb"])
def test_build_downloads_beside_a_folder_of_ones_own(server: FaultyServer, tmp_path: Path, dataset: str) -> None:
    write_mitdb(tmp_path / "published", [f"{number}" for number in MITDB_RECORDS], seconds=8)
    published_by(server, tmp_path / "published/mitdb", AT)
    write_mitdb(tmp_path, ("100", "101"), seconds=20)
    workspace = Workspace(tmp_path / "home")
    workspace.raw.mkdir(parents=True)
    (tmp_path / "mitdb").rename(workspace.raw / "wfdb")
    fetch = partial(download, options=Options(mirror=server.url, offline=True, patience=QUICK))
    made = build(Prepare(dataset=dataset, workers=0, leads=("MLII",)), workspace, download=fetch)
    assert {about["name"] for about in made.plan.attributes["card"]["databases"]} == {"mitdb", "wfdb"}
    assert is_whole(workspace.raw / "mitdb", server)


def is_whole(folder: Path, server: FaultyServer) -> bool:
    return set(here(folder)) == {Path(path).name for path in server.files if path != LIST}


def test_build_without_a_network_exits_with_4(tmp_path: Path) -> None:
    """Names that nobody answers to stand for a machine without a network."""
    code = (
        "from ecgprep.download import sources\n"
        "sources.BUCKET = sources.PHYSIONET = 'http://127.0.0.1:9'\n"
        "from ecgprep.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "build", "--dataset", "mitdb", "--home", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert "no source answers" in line
    assert not list(tmp_path.rglob("mitdb"))


MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "database": (("mitbd",), 2, "Did you mean 'mitdb'?"),
    "rate": (("ptbxl", "--fs", "0"), 2, "greater than 0"),
    "mirror": (("mitdb", "--from", "/absent"), 2, "neither a folder nor"),
    "no connections": (("mitdb", "--connections", "0"), 2, "--connections"),
    "patients that no path names": (("mitdb", "--patients", "1%"), 2, "the files of mitdb do not say whose they are"),
    "no such patient": (
        ("icentia11k", "--patients", "11000-12000", "--from", "{mirror}", "--offline"),
        2,
        "Icentia11k has patients 0 to 10999",
    ),
    "offline": (("mitdb", "--offline"), 4, "go online, or name a mirror or folder by --from"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_gets_one_line(tmp_path: Path, mistake: str) -> None:
    arguments, code, said = MISTAKES[mistake]
    listed = tmp_path / "mirror/icentia11k-continuous-ecg/SHA256SUMS.txt"
    listed.parent.mkdir(parents=True)
    listed.write_bytes(checksums({f"{name}.hea": b"" for name in SEGMENTS}))
    arguments = tuple(argument.format(mirror=listed.parents[1]) for argument in arguments)
    done = ecgprep("download", *arguments, "--home", tmp_path)
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not list(tmp_path.glob("raw/*/*"))


@pytest.mark.real
def test_real_list_of_mitdb_names_what_is_published(real_data: Path, tmp_path: Path) -> None:
    database = get_database("mitdb")
    wish = Wish(database, database.resolve(Prepare(dataset="mitdb")), tmp_path / "mitdb")
    (done,) = download([wish], Options(mirror=str(real_data), offline=True))
    assert done.n_files == 146  # 48 records of three files, RECORDS and ANNOTATORS
    shutil.rmtree(tmp_path / "mitdb")


def test_bytes_are_said_in_the_unit_that_suits() -> None:
    sizes = {3e9: "3 GB", 98.2e6: "98.2 MB", 1.5e12: "1.5 TB", 2500: "2.5 kB"}
    assert {size: databases.format_bytes(size) for size in sizes} == sizes
