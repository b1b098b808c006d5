"""The command line: help that answers at once, and one clear line for each mistake."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ecgprep.execute
from ecgprep.build import BuildResult
from ecgprep.datasets import list_databases
from ecgprep.execute import TaskRunner
from ecgprep.inspect import print_databases
from store.errors import UserError

COMMANDS = ("datasets", "download", "plan", "build", "inspect", "verify", "plot", "export", "synth")
HEAVY = ("torch", "dask", "distributed", "zarr", "scipy", "sklearn", "matplotlib", "wfdb", "pandas", "timm")
MAIN = "from ecgprep.cli import main; main()"


def run(*arguments: str | Path, cwd: Path | None = None, code: str = MAIN) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key != "ECG_HOME"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=cwd, env={**environment, "COLUMNS": "200"}
    )


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_answers_at_once_and_imports_nothing_heavy(command: str) -> None:
    code = (
        "import sys, time; start = time.process_time()\n"
        "from ecgprep.cli import main\n"
        "try: main()\n"
        "finally:\n"
        "    took = time.process_time() - start\n"
        f"    heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    sys.stderr.write(f'{took < 1} {heavy}')\n"
    )
    done = run(*command.split(), "--help", code=code)
    assert done.returncode == 0
    assert done.stderr == "True []"
    assert f"ecgprep {command}".strip() in done.stdout or "Usage" in done.stdout


def test_licences_are_whole_on_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_databases(list_databases().values(), tmp_path)
    assert "…" not in capsys.readouterr().out


def test_without_arguments_the_help_is_shown() -> None:
    done = run()
    assert done.returncode == 0
    assert "build" in done.stdout


@pytest.fixture(scope="module")
def home(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a store of MIT-BIH that has one small picture."""
    place = tmp_path_factory.mktemp("home")
    options = ["--from", raw, "--home", place, "--workers", "0", "--reps", "gaf:size=16"]
    done = run("build", "--dataset", "mitdb", *options)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_dir()
    return place


RAW, HOME = "{raw}", "{home}"
BUILD = ("build", "--from", RAW, "--dataset")

MISTAKES = {
    "dataset": ((*BUILD, "mitbd"), "unknown dataset 'mitbd'. Did you mean 'mitdb'?"),
    "patients to download": (
        ("download", "icentia11k", "--patients", "abc", "--offline", "--home", HOME),
        "--patients abc: write a share",
    ),
    "no dataset": (("build", "--from", RAW), "name a database: --dataset mitdb"),
    "representation": ((*BUILD, "mitdb", "--reps", "gfa"), "Did you mean 'gaf'?"),
    "parameter": ((*BUILD, "mitdb", "--reps", "gaf:siez=3"), "Did you mean 'size'?"),
    "parameter's value": ((*BUILD, "mitdb", "--reps", "gaf:size=big"), "size=big"),
    "parameter without value": ((*BUILD, "mitdb", "--reps", "gaf:size"), "parameter=value"),
    "two of a name": ((*BUILD, "mitdb", "--reps", "gaf,gaf"), ":as=NAME"),
    "lead": ((*BUILD, "ptbxl", "--leads", "II,aVE"), "Did you mean 'aVR'?"),
    "lead twice": ((*BUILD, "ptbxl", "--leads", "II,ii"), "a lead is named twice"),
    "all leads of a Holter": ((*BUILD, "mitdb", "--leads", "all"), "name them"),
    "unit": ((*BUILD, "mitdb", "--unit", "beat:centered186"), "Did you mean 'beat:centred186'?"),
    "window without a length": ((*BUILD, "ptbxl", "--unit", "window"), "say how long a window is"),
    "length in words": ((*BUILD, "ptbxl", "--unit", "window:long"), "'long' is no length in seconds"),
    "part of a unit": ((*BUILD, "ptbxl", "--unit", "window:10:stride=5"), "is not of the form step=SECONDS"),
    "detector": ((*BUILD, "ptbxl", "--unit", "beat:c360", "--detector", "gqr"), "Did you mean 'gqrs'?"),
    "detector of annotated beats": ((*BUILD, "mitdb", "--detector", "gqrs"), "beats are annotated"),
    "patients": ((*BUILD, "mitdb", "--patients", "10"), "a share such as 10%, or a range such as 0-99"),
    "patients who are not here": ((*BUILD, "mitdb", "--patients", "100-200"), "no record of these 0 of 11 patients"),
    "databases without a common label": ((*BUILD, "mitdb,ptbxl"), "share no label scheme (mitdb: aami"),
    "databases of other leads": (
        ("build", "--dataset", "svdb,mitdb"),
        "mitdb has no lead ECG1, which is taken from svdb: name one that all have, such as --leads II",
    ),
    "databases without a common lead": (("build", "--dataset", "cinc2017,ptbxl"), "no lead is in all; build them one"),
    "database twice": ((*BUILD, "mitdb,mitdb"), "name each database once"),
    "label rule": ((*BUILD, "ptbxl", "--label-rule", "presence"), "Did you mean 'present'?"),
    "rate to be made of another": ((*BUILD, "ptbxl", "--fs", "250"), "no record of ptbxl at 500 Hz is here"),
    "rate of a preset": ((*BUILD, "mitdb", "--fs", "250"), "is cut at 360 Hz"),
    "rate without end": ((*BUILD, "ptbxl", "--fs", "inf"), "--fs inf: name a rate from 1 to 10,000 Hz"),
    "rate of a radio": ((*BUILD, "ptbxl", "--fs", "999999.5"), "--fs 1e+06: name a rate from 1 to 10,000 Hz"),
    "rate of zero": ((*BUILD, "ptbxl", "--fs", "0"), "fs: Input should be greater than 0"),
    "rate in words": ((*BUILD, "ptbxl", "--fs", "fast"), "Invalid value for '--fs'"),
    "rate that is not here": ((*BUILD, "ptbxl", "--fs", "500"), "no record of ptbxl at 500 Hz is here"),
    "engine of no pictures": ((*BUILD, "mitdb", "--engine", "reference"), "draws pictures, and none is asked for"),
    "rows a class of no balance": (
        (*BUILD, "mitdb", "--samples-per-class", "10"),
        "samples_per_class belongs to a balance, and none is asked for",
    ),
    "the usual rows a class of no balance": (
        (*BUILD, "mitdb", "--samples-per-class", "15000"),
        "samples_per_class belongs to a balance, and none is asked for",
    ),
    "recipe's rows a class of no balance": (
        ("build", "--recipe", "{tmp}/per_class.yaml"),
        "samples_per_class belongs to a balance, and none is asked for",
    ),
    "engine": ((*BUILD, "mitdb", "--engine", "quick"), "engine: Input should be 'fast' or 'reference'"),
    "workers": ((*BUILD, "mitdb", "--workers", "-1"), "workers: Input should be greater than or equal to 0"),
    "option": ((*BUILD, "mitdb", "--rep", "gaf"), "--reps"),
    "command": (("biuld",), "build"),
    "recipe": (("build", "--recipe", "absent.yaml"), "unknown recipe 'absent.yaml'"),
    "recipe's section": (
        ("build", "--recipe", "{tmp}/section.yaml"),
        "unknown section 'prepar'. Did you mean 'prepare'?",
    ),
    "recipe's key": (("build", "--recipe", "{tmp}/key.yaml"), "unknown key 'leeds'. Did you mean 'leads'?"),
    "recipe of text": (("build", "--recipe", "{tmp}/text.yaml"), "a recipe is a mapping"),
    "recipe of binary": (("build", "--recipe", "{tmp}/binary.yaml"), "not a YAML file"),
    "recipe's list": (("build", "--recipe", "{tmp}/list.yaml"), "prepare holds keys and values"),
    "--set without value": ((*BUILD, "mitdb", "--set", "fs"), "key=value"),
    "--set key": ((*BUILD, "mitdb", "--set", "label_rul=x"), "Did you mean 'label_rule'?"),
    "--set path": ((*BUILD, "mitdb", "--set", "fs.x=1", "--set", "fs.x.y=2"), "'x' holds a value"),
    "no raw data": (("build", "--dataset", "mitdb", "--from", "{tmp}/absent"), "https://physionet.org/content/mitdb/"),
    "empty folder": (("build", "--dataset", "mitdb", "--from", "{tmp}/empty"), "no record of mitdb is here"),
    "no table": (("build", "--dataset", "ptbxl", "--from", "{tmp}/empty"), "ptbxl_database.csv is missing"),
    "garbled table": (("build", "--dataset", "ptbxl", "--from", "{tmp}/garbled"), "ptbxl_database.csv: not a table"),
    "empty table": (("build", "--dataset", "ptbxl", "--from", "{tmp}/blank"), "ptbxl_database.csv: not a table"),
    "table of another": (("build", "--dataset", "ptbxl", "--from", "{tmp}/other"), "column 'ecg_id' is missing"),
    "table with a hole": (("build", "--dataset", "ptbxl", "--from", "{tmp}/hole"), "line 2: patient_id"),
    "table without a fold": (("build", "--dataset", "ptbxl", "--from", "{tmp}/fold"), "line 2: strat_fold is nan"),
    "table with an age": (("build", "--dataset", "ptbxl", "--from", "{tmp}/age"), "line 2: age"),
    "table with codes": (("build", "--dataset", "ptbxl", "--from", "{tmp}/codes"), "is no dict"),
    "home is a file": (
        (*BUILD, "mitdb", "--workers", "0", "--home", "{tmp}/file"),
        "name a folder of your own by --home",
    ),
    "home is not to be": ((*BUILD, "mitdb", "--workers", "0", "--home", "/proc/home"), "--home"),
    "store": (("inspect", "mitbd", "--home", HOME), "There: mitdb-"),
    "no store": (("verify", "--home", "{tmp}/empty"), "no complete store in"),
    "folder that is no store": (("inspect", "{tmp}/empty"), "no complete store here"),
    "row": (("plot", "--row", "99999", "--home", HOME), "--row 99999: mitdb-"),
    "row below": (("plot", "--row", "-1", "--home", HOME), "--row -1"),
    "image": (("plot", "--out", "{tmp}/x.docx", "--home", HOME), "--out"),
    "image's folder": (("plot", "--out", "{tmp}/absent/x.png", "--home", HOME), "--out"),
    "other parameters": (
        ("build", "--dataset", "mitdb", "--from", RAW, "--home", HOME, "--workers", "0", "--reps", "gaf:size=24"),
        "gaf:size=24:as=gaf2",
    ),
    "other data": (
        ("build", "--dataset", "mitdb", "--from", "{tmp}/less", "--home", HOME, "--workers", "0"),
        "--replace",
    ),
    "plan": (("plan", "--dataset", "mitbd"), "Did you mean 'mitdb'?"),
    "plan of pictures by an engine": (
        ("plan", "--dataset", "mitdb", "--from", RAW, "--reps", "gaf", "--engine", "pyts"),
        "engine: Input should be 'fast' or 'reference'",
    ),
    "target in no folder": (
        (*BUILD, "mitdb", "--workers", "0", "--to", "/dev/null/x"),
        "/dev/null/x: cannot be made (Not a directory); name another --to",
    ),
    "synth": (("synth", "{tmp}/synth", "--like", "mitdbb"), "Did you mean 'mitdb'?"),
}

TABLE = (
    "ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_lr,filename_hr\n"
    "1,{patient},{age},0,{codes},{fold},records100/00000/00001_lr,records500/00000/00001_hr\n"
)
WHOLE = {"patient": "1.0", "age": "50", "codes": "{}", "fold": "1"}


def write_mistakes(raw: Path, place: Path) -> None:
    """Write the files that the mistakes are in."""
    for name, text in {
        "section.yaml": "prepar: {dataset: mitdb}",
        "key.yaml": "prepare: {dataset: mitdb, leeds: II}",
        "text.yaml": "just words",
        "list.yaml": "prepare: [mitdb]",
        "per_class.yaml": "prepare: {dataset: mitdb, samples_per_class: 15000}",
        "file": "",
    }.items():
        (place / name).write_text(text)
    (place / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("mitdb", "ptb-xl"):
        (place / "empty" / name).mkdir(parents=True)
    for name, content in {
        "garbled": b'ecg_id,patient_id\n1,"2\n1,2,3,4\n\xff\xfe',
        "blank": b"",
        "other": b"name,value\n1,2\n",
        "hole": TABLE.format(**{**WHOLE, "patient": "x"}).encode(),
        "fold": TABLE.format(**{**WHOLE, "fold": ""}).encode(),
        "age": TABLE.format(**{**WHOLE, "age": "old"}).encode(),
        "codes": TABLE.format(**{**WHOLE, "codes": "NORM"}).encode(),
    }.items():
        (place / name / "ptb-xl").mkdir(parents=True)
        (place / name / "ptb-xl/ptbxl_database.csv").write_bytes(content)
        record = place / name / "ptb-xl/records100/00000"
        record.mkdir(parents=True)
        (record / "00001_lr.hea").write_text("")
    (place / "less/mitdb").mkdir(parents=True)
    for file in (raw / "mitdb").glob("100.*"):
        shutil.copy(file, place / "less/mitdb")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_gets_one_line_and_leaves_nothing(raw: Path, home: Path, tmp_path: Path, mistake: str) -> None:
    arguments, expected = MISTAKES[mistake]
    write_mistakes(raw, tmp_path)
    (tmp_path / "cwd").mkdir()
    places = {"raw": str(raw), "home": str(home), "tmp": str(tmp_path)}
    filled = [argument.format(**places) for argument in arguments]
    before = sorted(path for root in (tmp_path, home) for path in root.rglob("*"))
    done = run(*filled, cwd=tmp_path / "cwd")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if not line.startswith("reading records of ")]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("ecgprep: ")
    assert expected in said[0]
    assert sorted(path for root in (tmp_path, home) for path in root.rglob("*")) == before


def test_nothing_left_exits_with_3(tmp_path: Path) -> None:
    (tmp_path / "mitdb").mkdir()
    for suffix in (".hea", ".dat", ".atr"):
        (tmp_path / f"mitdb/100{suffix}").write_bytes(b"")
    done = run("build", "--dataset", "mitdb", "--from", tmp_path, "--home", tmp_path / "home", "--workers", "0")
    assert done.returncode == 3
    assert "none of 1 records can be used; mitdb/100: 100.hea is empty" in done.stderr.splitlines()[-1]


def test_scheduler_that_does_not_answer(
    raw: Path, build_in: Callable[..., BuildResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ecgprep.execute, "CONNECT_S", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        with pytest.raises(UserError, match=f"--scheduler {address}: no Dask scheduler answers there"):
            build_in(raw, dataset="mitdb", scheduler=address)


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        pytest.param(b"", "no answer in 0.5 s", id="silent"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "but another program, such as a dashboard", id="web page"),
    ],
)
def test_scheduler_that_is_another_program(greeting: bytes, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecgprep.execute, "CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as threads:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        connected = threads.submit(lambda: listener.accept()[0])
        connected.add_done_callback(lambda accepted: accepted.result().sendall(greeting))
        with TaskRunner(None, address) as runner, pytest.raises(UserError, match=f"{address}: .*{said}"):
            list(runner.run(abs, [1], 1))
        connected.result().close()


def test_build_inspect_verify_plot(raw: Path, home: Path, tmp_path: Path) -> None:
    shown = run("inspect", "--home", home)
    assert shown.returncode == 0, shown.stderr
    assert "12 of 48 records" in shown.stdout
    assert "rep/gaf" in shown.stdout
    place = tmp_path / "row.png"
    drawn = run("plot", "--home", home, "--row", "3", "--out", place)
    assert drawn.stdout.strip() == str(place)
    assert place.read_bytes().startswith(b"\x89PNG")
    shutil.copytree(home, tmp_path / "home")
    whole = run("verify", "--home", tmp_path / "home")
    assert (whole.returncode, whole.stdout.strip()[-5:]) == (0, "whole")
    (shard,) = (tmp_path / "home/store").glob("*/signal/c/0/0/0")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    damaged = run("verify", "--home", tmp_path / "home")
    assert damaged.returncode == 1
    assert damaged.stdout.startswith("signal/c/0/0/0 has changed")
    assert "Traceback" not in damaged.stderr
    plotted = run("plot", "--home", tmp_path / "home", "--out", tmp_path / "y.png")
    assert plotted.returncode == 1
    assert "Traceback" not in plotted.stderr


def test_plan_writes_nothing(raw: Path, tmp_path: Path) -> None:
    done = run("plan", "--dataset", "ptbxl", "--reps", "gaf", "--from", raw, "--workers", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "24 rows" in done.stdout
    assert "rep/gaf" in done.stdout
    assert not list(tmp_path.iterdir())


def test_recipe_and_settings_come_together(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("prepare: {dataset: ptbxl, leads: [I], reps: 'gaf:size=8'}\n")
    options = ["--recipe", tmp_path / "mine.yaml", "--from", raw, "--home", tmp_path, "--workers", "0"]
    done = run("build", *options, "--set", "leads=V6,V1", "--set", "prepare.label_rule=likely")
    assert done.returncode == 0, done.stderr
    shown = run("inspect", "--home", tmp_path).stdout
    assert "V6, V1" in shown
    assert "rep/gaf" in shown
