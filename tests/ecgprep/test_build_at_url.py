"""A store at a URL: built, stopped, gone on with, added to and verified on a real S3-compatible server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from numpy.typing import NDArray

import ecgprep.build
import store.schema
from ecgprep.build import BuildResult, Fill, build
from ecgprep.config import Prepare
from ecgprep.export import export_store, find_format
from pipelines.workspace import Workspace
from store.errors import DamagedStoreError, IncompleteStoreError, ResourceError, UserError
from store.places import place_at
from store.read import open_store
from store.verify import Damage, find_damage
from store.write import read_manifest
from tests.recordings import write_mitdb
from tests.s3 import serving

ECGPREP = [sys.executable, "-c", "from ecgprep.cli import main; main()"]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_mitdb(folder, ("100", "208"), seconds=60)
    return folder


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.schema, "MAX_TASK_ROWS", 64)


def make(source: Path, home: Path, target: str | None, reps: str = "gaf:size=16", replace: bool = False) -> BuildResult:
    prepare = Prepare(dataset="mitdb", workers=0, reps=reps)
    return build(prepare, Workspace(home), source, replace, target=target)


@pytest.fixture(scope="module")
def local(source: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """The same store in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.schema, "MAX_TASK_ROWS", 64)
        return make(source, tmp_path_factory.mktemp("local"), None, "gaf:size=16,mtf:size=16")


def files(url: str) -> set[str]:
    return set(place_at(url).files())


def test_store_at_a_url_is_the_store_in_a_folder(bucket: str, source: Path, tmp_path: Path, local: BuildResult) -> None:
    target = f"{bucket}/whole"
    made = make(source, tmp_path, target, "gaf:size=16,mtf:size=16")
    assert made.state == "built"
    assert made.place == f"{target}/{local.place.name}"
    assert made.digest == local.digest
    assert files(target) == {
        f"{local.place.name}/{path}" for path in [*read_manifest(local.place).digests, "MANIFEST.sha256"]
    }
    assert not list(find_damage(made.place))
    here, there = open_store(local.place), open_store(made.place)
    np.testing.assert_array_equal(there.signal[:], here.signal[:])
    np.testing.assert_array_equal(there.representation("mtf")[:], here.representation("mtf")[:])
    assert there.column("patient").tolist() == here.column("patient").tolist()
    again = make(source, tmp_path, target, "gaf:size=16,mtf:size=16")
    assert (again.state, again.digest) == ("complete", made.digest)


def test_pictures_are_added(bucket: str, source: Path, tmp_path: Path, local: BuildResult) -> None:
    target = f"{bucket}/added"
    assert make(source, tmp_path, target).state == "built"
    added = make(source, tmp_path, target, "gaf:size=16,mtf:size=16")
    assert (added.state, added.digest) == ("added", local.digest)
    assert not list(find_damage(added.place))
    assert {name.partition("/")[0] for name in files(target)} == {local.place.name}, "nothing is left aside"


def test_damage_is_named_and_replaced(bucket: str, source: Path, tmp_path: Path) -> None:
    made = make(source, tmp_path, f"{bucket}/damaged")
    place = place_at(made.place)
    place.write_text("rep/gaf/c/0/0/0/0", "not a shard")
    place.remove("signal/c/1/0/0")
    assert [damage.path for damage in find_damage(made.place)] == ["rep/gaf/c/0/0/0/0", "signal/c/1/0/0"]
    assert Damage("signal/c/1/0/0", "is missing") in find_damage(made.place)
    replaced = make(source, tmp_path, f"{bucket}/damaged", replace=True)
    assert (replaced.state, replaced.digest) == ("built", made.digest)
    assert not list(find_damage(replaced.place))


def test_other_raw_data_are_refused(bucket: str, source: Path, tmp_path: Path) -> None:
    make(source, tmp_path, f"{bucket}/other")
    write_mitdb(tmp_path / "less", ("100",), seconds=40)
    with pytest.raises(UserError, match="add --replace"):
        make(tmp_path / "less", tmp_path, f"{bucket}/other")


class Stopped(Exception):
    """Raised where a build is stopped."""


def make_and_stop(source: Path, home: Path, target: str, reps: str = "", replace: bool = False) -> None:
    """Do all tasks, of a build or of an addition, and stop before the manifest."""

    def stop(*_: object) -> None:
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ecgprep.build.publish", stop)
        patch.setattr("ecgprep.build.publish_addition", stop)
        with pytest.raises(Stopped):
            make(source, home, target, reps, replace)


@pytest.fixture
def other_source(tmp_path: Path) -> Path:
    write_mitdb(tmp_path / "less", ("100",), seconds=40)
    return tmp_path / "less"


def test_unfinished_build_of_other_raw_data_is_refused_and_left(
    bucket: str, source: Path, other_source: Path, tmp_path: Path
) -> None:
    target = f"{bucket}/unfinished"
    make_and_stop(source, tmp_path / "one", target)
    left = files(target)
    with pytest.raises(UserError, match=r"unfinished build of other raw data, .* or add --replace"):
        make(other_source, tmp_path / "other", target, "")
    assert files(target) == left
    assert make(source, tmp_path / "one", target, "").state == "resumed"


def test_unfinished_build_of_other_raw_data_is_replaced(
    bucket: str, source: Path, other_source: Path, tmp_path: Path
) -> None:
    target = f"{bucket}/unfinished-replaced"
    make_and_stop(source, tmp_path / "one", target)
    made = make(other_source, tmp_path / "other", target, "", replace=True)
    assert made.state == "built"
    assert made.digest == make(other_source, tmp_path / "local", None, "").digest
    assert not list(find_damage(made.place))


def test_unfinished_addition_is_refused_and_left(bucket: str, source: Path, tmp_path: Path) -> None:
    target = f"{bucket}/unfinished-addition"
    make(source, tmp_path, target, "")
    make_and_stop(source, tmp_path, target, "gaf:size=16")
    left = files(target)
    with pytest.raises(UserError, match="unfinished build of other raw data, pictures"):
        make(source, tmp_path, target, "mtf:size=16")
    assert files(target) == left
    assert make(source, tmp_path, target, "gaf:size=16").state == "added"
    make_and_stop(source, tmp_path, target, "mtf:size=16")
    replaced = make(source, tmp_path, target, "rp:size=16", replace=True)
    assert open_store(replaced.place).representations == ["gaf", "rp"]


@pytest.mark.parametrize("end", ["under way", "finished"])
def test_build_that_is_replaced_while_it_runs_ends_and_mixes_nothing(
    bucket: str, source: Path, other_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    target = f"{bucket}/taken-{end[:5]}"
    cut = ecgprep.build.cut_rows

    def replace_first(job: Fill) -> NDArray[np.int16]:
        monkeypatch.setattr("ecgprep.build.cut_rows", cut)
        replace = make_and_stop if end == "under way" else make
        replace(other_source, tmp_path / "other", target, "", replace=True)
        return cut(job)

    monkeypatch.setattr("ecgprep.build.cut_rows", replace_first)
    with pytest.raises(ResourceError, match="another build has"):
        make(source, tmp_path / "one", target, "")
    made = make(other_source, tmp_path / "other", target, "")
    assert made.digest == make(other_source, tmp_path / "local", None, "").digest
    assert not list(find_damage(made.place))


def test_one_workspace_builds_to_two_urls_at_once_but_not_to_one(
    bucket: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = ecgprep.build.cut_rows
    other: list[BuildResult] = []

    def build_other_first(job: Fill) -> NDArray[np.int16]:
        monkeypatch.setattr("ecgprep.build.cut_rows", cut)
        with pytest.raises(ResourceError, match="another build of this store is running"):
            make(source, tmp_path, f"{bucket}/one", "")
        other.append(make(source, tmp_path, f"{bucket}/two", ""))
        return cut(job)

    monkeypatch.setattr("ecgprep.build.cut_rows", build_other_first)
    assert make(source, tmp_path, f"{bucket}/one", "").digest == other[0].digest


KILLED = """
import os, signal, sys
import store.schema
store.schema.MAX_TASK_ROWS = 64
from store.places import Bucket
moment = int(sys.argv.pop(1))
seen = 0
def counted(change):
    def do(self, *arguments):
        global seen
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return change(self, *arguments)
    return do
for name in ("write_text", "put", "remove", "take"):
    setattr(Bucket, name, counted(getattr(Bucket, name)))
from ecgprep.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("start", ["", "gaf:size=16"], ids=["build", "addition"])
def test_killed_at_any_change_goes_on(
    bucket: str, source: Path, tmp_path: Path, local: BuildResult, start: str
) -> None:
    """Each run is killed a few changes further on, until one comes to its end."""
    target = f"{bucket}/killed-{start[:3]}"
    if start:  # the pictures are added to what is there
        make(source, tmp_path, target, start)
    command = ["build", "--dataset", "mitdb", "--from", str(source), "--home", str(tmp_path), "--to", target]
    command += ["--workers", "0", "--reps", "gaf:size=16,mtf:size=16"]
    url = f"{target}/{local.place.name}"
    kills = 0
    for moment in range(3, 300, 14 if start else 60):
        done = subprocess.run([sys.executable, "-c", KILLED, str(moment), *command], capture_output=True, text=True)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
        if not start and "MANIFEST.sha256" not in files(url):
            with pytest.raises(IncompleteStoreError):
                open_store(url)
    assert kills > 1
    assert read_manifest(url).digest == local.digest
    assert not list(find_damage(url))
    make(source, tmp_path, target, "gaf:size=16,mtf:size=16")
    assert {name.partition("/")[0] for name in files(target)} == {local.place.name}
    assert not [name for name in files(url) if name.startswith(("journal", "plan"))]


def test_command_line_builds_and_verifies(bucket: str, source: Path, tmp_path: Path) -> None:
    options = ["--from", str(source), "--home", str(tmp_path), "--to", f"{bucket}/cli/", "--workers", "2"]
    done = subprocess.run([*ECGPREP, "build", "--dataset", "mitdb", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    url = done.stdout.strip()
    assert url.startswith(f"{bucket}/cli/mitdb-")
    assert f"Next: ecgtrain run --store {url}" in done.stderr
    verified = subprocess.run([*ECGPREP, "verify", url], capture_output=True, text=True)
    assert (verified.returncode, verified.stdout) == (0, f"{url}: whole\n")
    place_at(url).remove("croissant.json")
    verified = subprocess.run([*ECGPREP, "verify", url], capture_output=True, text=True)
    assert (verified.returncode, verified.stdout) == (1, "croissant.json is missing\n")


TARGETS = {
    "host that does not answer": (
        "s3://ecg/x",
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"},
        4,
        "does not answer",
    ),
    "bucket that is not there": ("s3://absent/x", {}, 2, "there is no such bucket"),
    "server that takes no files": ("http://127.0.0.1:9/x", {}, 4, "does not answer"),
    "host that is asked at once": ("ftp://127.0.0.1:9/x", {}, 4, "does not answer"),
    "no bucket": ("s3://", {}, 2, "names no bucket or folder"),
    "unknown kind": ("ecg://bucket/x", {}, 2, "cannot be used as a URL"),
}


@pytest.mark.parametrize("case", TARGETS)
def test_bad_target_gets_one_line(bucket: str, source: Path, tmp_path: Path, case: str) -> None:
    target, environment, code, said = TARGETS[case]
    command = ["build", "--dataset", "mitdb", "--from", str(source), "--home", str(tmp_path), "--workers", "0"]
    done = subprocess.run(
        [*ECGPREP, *command, "--to", target], capture_output=True, text=True, env=os.environ | environment, timeout=100
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("kind", ["folder", "file", "s3", "memory"])
def test_places_keep_one_contract(bucket: str, tmp_path: Path, kind: str) -> None:
    folder_of = {"folder": str(tmp_path), "file": tmp_path.as_uri(), "s3": f"{bucket}/contract"}
    root = f"{folder_of.get(kind, 'memory://contract')}/a"
    place = place_at(root)
    assert (place.name, place.is_taken, place.files(), place.has("x")) == ("a", False, [], False)
    with pytest.raises(FileNotFoundError):
        place.read_text("x")
    with pytest.raises(FileNotFoundError):
        place.digest("x")
    place.write_text("x/y.txt", "µV")
    with place.scratch() as scratch:
        (scratch / "z").write_bytes(b"bytes")
        place.put(scratch / "z", "x/z")
    with place.workshop() as folder:
        (folder / "w").mkdir()
        (folder / "w/v").write_bytes(b"made")
    assert place.files() == ["w/v", "x/y.txt", "x/z"]
    assert place.files("x") == ["x/y.txt", "x/z"]
    assert place.read_text("x/y.txt") == "µV"
    assert place.changed({"x/z": place.digest("x/z"), "absent": "0" * 64}) == ["absent"]
    other = place.beside("b")
    other.take(place, ["x/z", "w/v"])
    other.take(place, ["x/z"])
    assert other.files() == ["w/v", "x/z"]
    assert other.digest("x/z") == place.digest("x/z")
    other.claim("claimed", "first")
    if kind in ("s3", "memory"):
        with pytest.raises(FileExistsError):
            other.claim("claimed", "second")
        assert other.read_text("claimed") == "first"
    place.remove("x")
    place.remove("absent")
    assert place.files() == ["w/v"]
    place.write_text("MANIFEST.sha256", "")
    assert place.is_taken
    place.renew("MANIFEST.sha256")
    place.retire()
    assert (place.is_taken, place.files()) == (False, [])
    other.discard()
    if kind == "memory":
        fsspec.filesystem("memory").store.clear()


def test_unanswered_request_is_a_resource_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(ResourceError, match="s3://ecg/x: does not answer"):
        open_store("s3://ecg/x")
    s3fs.S3FileSystem.clear_instance_cache()


def test_host_that_stops_answering_is_a_resource_error(
    bucket: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs
    from botocore.exceptions import EndpointConnectionError

    store = open_store(make(source, tmp_path, f"{bucket}/lost").place)

    async def lost(*_: object, **__: object) -> None:
        raise EndpointConnectionError(endpoint_url="http://gone")

    reading = {
        "columns": lambda: store.column("patient"),
        "signals": lambda: export_store(store, tmp_path / "out", find_format("pairs")),
        "metadata": lambda: open_store(store.location),
    }
    assert store.signal.shape
    for name, read in reading.items():
        with monkeypatch.context() as patch:
            patch.setattr(s3fs.S3FileSystem, "_info" if name == "columns" else "_cat_file", lost)
            with pytest.raises(ResourceError, match=f"{store.name}: does not answer"):
                read()


def test_files_of_an_array_are_looked_for_in_one_listing(
    bucket: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    url = str(make(source, tmp_path, f"{bucket}/listed", "").place)

    async def refused(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    with monkeypatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "_exists", refused)
        assert open_store(url).signal.shape[0] > 64, "of several files none was asked for by itself"
    place_at(url).remove("signal/c/1/0/0")
    for allowed in (True, False):
        if not allowed:
            monkeypatch.setattr(s3fs.S3FileSystem, "_find", refused)
        with pytest.raises(DamagedStoreError, match=r"signal/c/1/0/0 is missing \(1 files of signal\)"):
            _ = open_store(url).signal


def test_balances_are_those_of_a_folder(bucket: str, source: Path, tmp_path: Path) -> None:
    plain = Prepare(dataset="mitdb", workers=0)
    balanced = plain.model_copy(update={"balance": ("over", "under"), "samples_per_class": 30})
    there = f"{bucket}/balances"
    build(plain, Workspace(tmp_path / "home"), source, target=there)
    made = build(balanced, Workspace(tmp_path / "home"), source, target=there)
    assert made.state == "added"
    local = build(balanced, Workspace(tmp_path / "local"), source)
    assert made.digest == local.digest
    assert local.balances
    assert open_store(made.place).balances("intrapatient") == open_store(local.place).balances("intrapatient") != []
    assert list(find_damage(str(made.place))) == []
