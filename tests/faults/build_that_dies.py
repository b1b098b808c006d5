"""Build in this process and be killed at chosen moments: run by the tests, never imported.

``build_that_dies.py SOURCE HOME START KEYS SHARE REPLACE``: KEYS are those of the recipe, as JSON. Each build starts
from a copy of the workspace START, if one is named. The first, in ``HOME/whole``, is left alone. The moments are the
changes that it makes (a file opened for writing, a name made, renamed or removed), noted by an audit hook. Those of
one kind differ in numbers and in the names of arrays alone; the first of every SHARE-th kind gets a child of its own,
which is killed there, and the build is then done again to its end. SHARE 0 kills none. Prints the number of moments
that were tried and the distinct manifests that came out, as JSON. The children are forked before a codec has run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import distributed  # noqa: F401 - loaded once here, and not in every child
import pandas as pd  # noqa: F401
import sklearn.model_selection  # noqa: F401
import threadpoolctl  # noqa: F401
import wfdb
import wfdb.io.annotation  # noqa: F401

import store.schema
from ecgprep.build import build
from ecgprep.config import Prepare
from pipelines.workspace import Workspace
from store.manifest import MANIFEST_NAME
from store.verify import find_damage

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.copyfile"}
ARRAY = re.compile(r"/(column|label|rep|split|synthetic)/[^/]+")
NUMBER = re.compile(r"[0-9a-f]{6,}|\d+")

Change = tuple[str, str]


def run(source: Path, home: Path, keys: str, replace: bool) -> None:
    store.schema.MAX_TASK_ROWS = 16  # several tasks
    prepare = Prepare.model_validate({"dataset": "mitdb", "workers": 0, **json.loads(keys)})
    build(prepare, Workspace(home), source, replace)


def watch(home: Path, changing: Callable[[Change], None]) -> None:
    """Call `changing` before each change below `home`, with its event and the path."""
    root = str(home)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in CHANGES or writes) and root in str(arguments[0]):
            changing((event, str(arguments[0]).replace(root, "")))

    sys.addaudithook(hook)


def kind(change: Change) -> Change:
    """Return what changes have in common that differ in numbers and in the names of arrays alone."""
    event, path = change
    return event, NUMBER.sub("#", ARRAY.sub("/#", path))


def die_at(moment: Change, home: Path) -> None:
    """Kill this process at the first change of the given kind below `home`."""

    def look(change: Change) -> None:
        if kind(change) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    watch(home, look)


def in_child(work: Callable[[], None], name: str) -> int:
    """Work in a forked child; return its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        work()
    except BaseException as error:
        sys.stderr.write(f"{name}: {type(error).__name__}: {error}\n")
        os._exit(1)
    os._exit(0)


def manifest_of(home: Path) -> str:
    (place,) = (home / "store").glob("[!.]*.zarr")
    leftovers = [p.name for p in (home / "store").iterdir() if p != place and not p.name.endswith(".lock")]
    inside = [path.name for path in place.rglob("*") if path.name.startswith(".") or path.suffix == ".partial"]
    extra = {path.name for path in place.iterdir()} & {"journal", "scratch", "plan.sha256"}
    if leftovers or inside or extra or next(find_damage(place), None):
        raise SystemExit(f"left behind: {leftovers} {inside} {extra} {list(find_damage(place))}")
    return (place / MANIFEST_NAME).read_text()


def main() -> None:
    source, home, start, keys, share, replace = sys.argv[1:]

    def begin(name: str) -> Path:
        place = Path(home) / name
        if start:
            shutil.copytree(start, place)
        return place

    def build_at(place: Path) -> None:
        run(Path(source), place, keys, replace == "replace")

    def noted(place: Path) -> None:
        changes: list[Change] = []
        watch(place, changes.append)
        build_at(place)
        (Path(home) / "changes.json").write_text(json.dumps(changes))

    def killed(place: Path, moment: Change) -> None:
        die_at(moment, place)
        build_at(place)

    whole = begin("whole")
    if in_child(lambda: noted(whole), "whole"):
        raise SystemExit("the build fails")
    manifests = {manifest_of(whole)}
    kinds = dict.fromkeys(kind(change) for change in json.loads((Path(home) / "changes.json").read_text()))
    chosen = list(kinds)[:: int(share)] if int(share) else []
    for number, moment in enumerate(chosen):
        place = begin(str(number))
        if not os.WIFSIGNALED(in_child(lambda: killed(place, moment), str(moment))):  # noqa: B023 - called at once
            raise SystemExit(f"{moment}: the build was not killed")
        if in_child(lambda: build_at(place), str(moment)):  # noqa: B023
            raise SystemExit(f"{moment}: the build that goes on fails")
        manifests.add(manifest_of(place))
        shutil.rmtree(place)
    json.dump({"tried": len(chosen), "manifests": sorted(manifests)}, sys.stdout)


main()
