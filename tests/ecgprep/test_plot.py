"""A row is found by number, patient and class; figures say what they show."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from ecgprep.build import build
from ecgprep.config import Prepare
from ecgprep.plot import choose_row, plot_row
from ecgprep.plot_balance import plot_balance
from pipelines.workspace import Workspace
from store.balance import Balance
from store.errors import ResourceError, UnknownNameError, UserError
from store.read import Store, open_store

PICTURES = "gaf:size=16,cwt:size=16,spectrogram:size=16,phasogram:size=16"


@pytest.fixture(scope="module")
def beats(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    section = {"dataset": "mitdb", "reps": PICTURES, "balance": "smote", "samples_per_class": 60, "workers": 0}
    prepare = Prepare.model_validate({**section, "balance_protocols": "kfold-5", "balance_neighbours": 2})
    return open_store(build(prepare, Workspace(tmp_path_factory.mktemp("plot")), raw).place)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *given: Any, **named: Any) -> None:
        save(figure, *given, **named)
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def test_row_is_the_one_of_that_number_among_those_of_a_patient_and_a_class(beats: Store) -> None:
    label, patient = beats.label(), beats.column("patient")
    of_208 = patient == "mitdb/208"
    v = label.values == label.classes.index("V")
    assert choose_row(beats, 7) == 7
    assert choose_row(beats, 0, "208") == choose_row(beats, 0, "mitdb/208") == np.flatnonzero(of_208)[0]
    assert choose_row(beats, 2, class_name="V") == np.flatnonzero(v)[2]
    assert choose_row(beats, 1, "208", "V") == np.flatnonzero(of_208 & v)[1]


def test_row_that_is_not_there(beats: Store) -> None:
    with pytest.raises(UserError, match=r"--row 9999: .* has rows 0 to \d+ of patient 208 and class V"):
        choose_row(beats, 9999, "208", "V")
    with pytest.raises(UserError, match=r"--row -1: .* has rows 0 to"):
        choose_row(beats, -1)
    with pytest.raises(UnknownNameError, match="Did you mean '208'"):
        choose_row(beats, 0, "2088")
    with pytest.raises(UnknownNameError, match="Did you mean 'V'"):
        choose_row(beats, 0, class_name="v")


def test_patient_of_two_databases_is_named_in_full(monkeypatch: pytest.MonkeyPatch, beats: Store) -> None:
    patients = np.where(np.arange(beats.n_rows) < 9, "mitdb/1", "svdb/1").astype(object)
    monkeypatch.setattr(Store, "column", lambda store, name: patients)
    with pytest.raises(UserError, match=r"has mitdb/1 and svdb/1; name one"):
        choose_row(beats, 0, "1")
    assert choose_row(beats, 0, "svdb/1") == 9


def test_axes_have_units_and_pictures_a_colour_bar(beats: Store, tmp_path: Path, drawn: list[Figure]) -> None:
    plot_row(beats, 3, tmp_path / "row.png")
    (figure,) = drawn
    axes = {axis.get_title(): axis for axis in figure.axes if axis.get_title()}
    signal = figure.axes[0]
    assert (signal.get_xlabel(), signal.get_ylabel()) == ("s", "MLII (mV)")
    sides = {title: (axis.get_xlabel(), axis.get_ylabel()) for title, axis in axes.items()}
    time, frequency = ("s", "s"), ("s", "Hz")
    assert sides == {
        "gaf, MLII": time,
        "cwt, MLII": frequency,
        "phasogram, MLII": frequency,
        "spectrogram, MLII": frequency,
    }
    bars = [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]
    assert len(bars) == 4
    assert all(bar.get_ylabel() for bar in bars)
    assert axes["cwt, MLII"].get_ylim()[0] < axes["cwt, MLII"].get_ylim()[1], "high frequencies are at the top"
    assert axes["gaf, MLII"].get_ylim()[0] > axes["gaf, MLII"].get_ylim()[1], "the first row is at the top"
    assert axes["cwt, MLII"].get_xlim() == pytest.approx((0, 186 / 360))


def test_many_pictures_stand_in_further_lines(
    beats: Store, tmp_path: Path, drawn: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    plot_row(beats, 3, tmp_path / "row.png")
    monkeypatch.setattr("ecgprep.plot.PICTURES_ABREAST", 3)
    plot_row(beats, 3, tmp_path / "row.png")
    one_line, two_lines = drawn
    assert two_lines.get_figwidth() < one_line.get_figwidth()
    paper, *axes = two_lines.axes
    edges = [axis.get_position() for axis in axes if axis.get_title()]
    assert [edges[0].y0, edges[2].y0] == pytest.approx([edges[1].y0, edges[3].y0], abs=0.01)
    assert edges[2].y1 < edges[0].y0
    assert paper.get_position().height > edges[0].y1 - edges[2].y0 - 0.01, "the signal is as high as both lines"


def test_padding_has_no_line(raw: Path, tmp_path: Path, drawn: list[Figure]) -> None:
    prepare = Prepare(dataset="mitdb", unit="beat:kachuee187", workers=0)
    store = open_store(build(prepare, Workspace(tmp_path), raw).place)
    row = int(np.argmin(store.column("valid_n")))
    plot_row(store, row, tmp_path / "row.png")
    (line,) = drawn[0].axes[0].lines
    assert len(line.get_xdata()) == store.column("valid_n")[row] < 187


def test_padding_of_a_balances_beats_has_no_line(raw: Path, tmp_path: Path, drawn: list[Figure]) -> None:
    section = {"dataset": "mitdb", "unit": "beat:kachuee187", "balance": "smote", "samples_per_class": 60}
    section |= {"workers": 0, "balance_protocols": "interpatient", "balance_neighbours": 2}
    store = open_store(build(Prepare.model_validate(section), Workspace(tmp_path), raw).place)
    balance = store.balance("interpatient", "smote-60-k2")
    plot_balance(store, balance, tmp_path / "balance.png")
    _, real, made, *_ = drawn[0].axes
    shown = balance.parents[balance.classes == balance.classes.min()]
    valid_n = store.column("valid_n")[shown[np.linspace(0, len(shown) - 1, len(real.lines)).astype(int)]]
    for axis, lengths in ((real, valid_n[:, 0]), (made, valid_n.max(axis=1))):
        assert [int(np.isfinite(line.get_ydata()).sum()) for line in axis.lines] == lengths.tolist()
    assert valid_n.min() < 187


def test_balance_is_drawn_with_its_counts_and_beats(beats: Store, tmp_path: Path, drawn: list[Figure]) -> None:
    balance = beats.balance("kfold-5", "smote-60-k2", 1)
    plot_balance(beats, balance, tmp_path / "balance.png")
    (figure,) = drawn
    counts, *others = figure.axes
    heights = [round(bar.get_height()) for bar in counts.patches]
    names = [name for name in balance.facts["classes"] if balance.facts["before"][name]]
    assert heights == [balance.facts[when][name] for when in ("before", "after") for name in names]
    made = [name for i, name in enumerate(balance.facts["classes"]) if (balance.classes == i).any()]
    assert [axis.get_title() for axis in others] == [
        f"{name}, {what}" for name in made for what in ("real", "synthetic")
    ]
    assert figure.get_suptitle() == "kfold-5, run 1: training rows balanced by smote-60-k2"


def test_long_names_of_many_classes_do_not_overlap(beats: Store, tmp_path: Path, drawn: list[Figure]) -> None:
    """As LUDB's rhythms: names stand upright, and of the classes those whose rows count most often are shown."""
    names = [f"Atrial flutter, type {number}" for number in range(9)]
    few = dict(zip(names, range(1, 10), strict=True))
    rows = np.repeat(beats.split("kfold-5").of_fold(1).rows(0)[:9], 2).reshape(9, 2)
    facts = {"method": "over", "classes": names, "before": few, "after": dict.fromkeys(names, 10)}
    facts["replication"] = {name: 10 / n for name, n in few.items()}
    keep = np.zeros(beats.n_rows, bool)
    balance = Balance("kfold-5", 1, "over-10", rows, np.zeros(9, np.float32), np.arange(9, dtype=np.int8), keep, facts)
    plot_balance(beats, balance, tmp_path / "balance.png")
    (figure,) = drawn
    counts, *others = figure.axes
    assert [axis.get_title() for axis in others[1::2]] == [f"{name},\ncopied" for name in names[:6]]
    boxes = [text.get_window_extent() for text in counts.get_xticklabels()]
    boxes += [axis.title.get_window_extent() for axis in others[::2]]
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])


def test_image_that_cannot_be_written(beats: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"row: say the kind of image by a suffix, such as .*row\.png"):
        plot_row(beats, 0, tmp_path / "row")
    with pytest.raises(UserError, match="--out"):
        plot_row(beats, 0, tmp_path / "x.docx")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder\.png: cannot be written \(Is a directory\)"):
        plot_row(beats, 0, tmp_path / "folder.png")

    def no_room(*given: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", no_room)
    with pytest.raises(ResourceError, match=r"the disk that holds .*row\.png is full"):
        plot_row(beats, 0, tmp_path / "row.png")
