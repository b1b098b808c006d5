"""Build in this process and be killed at a chosen moment: run by the tests, never imported.

``build_that_dies.py SOURCE HOME START REPS STEP FIRST REPLACE``: each build starts from a copy of the workspace START,
if one is named. The moments are the changes that the build makes in HOME (a file opened for writing, a name made,
renamed or removed), counted by an audit hook. Every STEP-th moment from FIRST on gets a child of its own, which is
killed there; the build is then done again to its end. Prints the number of moments that were tried and the distinct
manifests that came out, as JSON. The children are forked before a codec has run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
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


def run(source: Path, home: Path, reps: str, replace: bool) -> None:
    store.schema.MAX_TASK_ROWS = 64  # several tasks
    build(Prepare(dataset="mitdb", workers=0, reps=reps), Workspace(home), source, replace)


def die_at(moment: int, home: Path) -> None:
    """Kill this process at the given change below `home`."""
    seen = 0
    root = str(home)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in CHANGES or writes) and root in str(arguments[0]):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def in_child(source: Path, home: Path, reps: str, replace: bool, moment: int | None) -> int:
    """Build in a forked child that dies at `moment`; return its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    if moment is not None:
        die_at(moment, home)
    try:
        run(source, home, reps, replace)
    except BaseException as error:
        sys.stderr.write(f"moment {moment}: {type(error).__name__}: {error}\n")
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
    source, home, start, reps, step, first, replace = sys.argv[1:]
    template = Path(start) if start else None
    moment, tried = int(first), 0
    manifests = set()
    while True:
        place = Path(home) / str(moment)
        if template:
            shutil.copytree(template, place)
        status = in_child(Path(source), place, reps, replace == "replace", moment)
        if os.WIFSIGNALED(status):
            tried += 1
            status = in_child(Path(source), place, reps, replace == "replace", None)
            if status:
                raise SystemExit(f"moment {moment}: the build that goes on fails")
            manifests.add(manifest_of(place))
            shutil.rmtree(place)
            moment += int(step)
            continue
        if status:
            raise SystemExit(f"moment {moment}: the build fails")
        manifests.add(manifest_of(place))
        break
    json.dump({"tried": tried, "manifests": sorted(manifests)}, sys.stdout)


main()
