"""What a run may hold besides predictions: features, explanations, a benchmark; made by hand, read and drawn."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA

from ecgeval import figures
from ecgeval.config import Evaluate
from ecgeval.drawing import draw
from ecgeval.errors import RunFileError
from ecgeval.explanations import read_explanations
from ecgeval.features import choose_rows, principal_components, project, read_features
from ecgeval.figures.paper import MM_PER_INCH, Strip
from ecgeval.latency import latency, read_benchmark
from ecgeval.report import read_best, score
from ecgeval.runs import read_run

QUICK = Evaluate(bootstrap=0)


def write_features(run, rows, rng):
    (run / "features").mkdir()
    columns = {"row": np.array(rows)} | {f"f_{i}": rng.normal(size=len(rows)).astype(np.float32) for i in range(12)}
    pq.write_table(pa.table(columns), run / "features" / "test.parquet", write_page_checksum=True)


def write_explanations(run, rng, **changes):
    (run / "explain").mkdir()
    arrays = {
        "row": np.arange(4),
        "signal_mv": rng.normal(size=(4, 2, 360)).astype(np.float32),
        "attribution": rng.normal(size=(4, 2, 360)).astype(np.float32),
        "leads": np.array(["II", "V1"]),
        "fs_hz": np.array(360.0),
        "explained": np.array(["MI", "MI", "MI", "CD"]),
        "kind": np.array(["borderline", "wrong", "right", "right"]),
        "label": np.array(["MI", "NORM", "MI", "CD"]),
        "probability": np.array([0.5, 0.9, 0.95, 0.8], np.float32),
    } | changes
    np.savez(run / "explain" / "integrated_gradients.npz", **arrays)
    return run / "explain" / "integrated_gradients.npz"


def write_benchmark(run):
    batch = {"batch": 16, "repeats": 30, "mean_ms": 12.5, "sd_ms": 0.4, "min_ms": 12.0, "max_ms": 14.0,
             "rows_per_s": 1280.4}  # fmt: skip
    content = {"device": "cpu", "threads": 2, "parameters": 472_965, "macs": 119_000_000, "size_bytes": 1_904_000,
               "batches": [batch | {"batch": 1}, batch]}  # fmt: skip
    (run / "benchmark.json").write_text(json.dumps(content))


def block_of(*runs):
    return score([read_run(run) for run in runs], QUICK)[0]


def test_features_and_explanations_are_drawn(make_run):
    run = make_run("a", n=80)
    rng = np.random.default_rng(0)
    write_features(run, range(10, 50), rng)
    write_explanations(run, rng)
    block = block_of(run)
    drawn = dict(draw(block, read_best(block, QUICK), QUICK))
    assert {name for name in drawn if name.startswith("explanation")} == {
        "explanation_integrated_gradients_2", "explanation_integrated_gradients_4"
    }  # fmt: skip
    assert drawn["features"]._suptitle.get_text().startswith("PCA of the features of 40 test rows")


def test_features_and_curves_are_those_of_the_best_run_that_has_them(make_run):
    """A baseline that was fitted at once may be ahead: it has no features and no curve of epochs."""
    run, ahead = make_run("a", n=80), make_run("b", n=80, skill=6.0, history=1)
    write_features(run, range(10, 50), np.random.default_rng(0))
    block = block_of(run, ahead)
    assert block.labels == ("b", "a")
    drawn = dict(draw(block, read_best(block, QUICK), QUICK))
    assert drawn["features"]._suptitle.get_text().endswith("test rows, a")
    assert [text.get_text() for text in drawn["training_curves"].legends[0].get_texts()] == ["a"]
    assert drawn["training_curves"].axes[3].get_title() == "F1 of each class, a"


def test_features_of_few_rows_are_put_on_principal_components():
    values = np.random.default_rng(0).normal(size=(20, 6))
    xy, method = project(values)
    assert method == "PCA"
    np.testing.assert_allclose(np.abs(xy), np.abs(PCA(2).fit_transform(values)), atol=1e-6)
    assert principal_components(np.ones((3, 1))).shape == (3, 2)


@pytest.mark.slow
def test_many_rows_are_put_on_a_plane_by_umap_and_classes_part():
    rng = np.random.default_rng(0)
    label = np.arange(120) % 2
    xy, method = project(rng.normal(size=(120, 8)) + 20 * label[:, None])
    distance = np.linalg.norm(xy[:, None] - xy, axis=2) + np.diag(np.full(120, np.inf))
    assert method == "UMAP"
    assert (label[distance.argmin(axis=1)] == label).all()


def test_rows_are_chosen_by_class_and_each_class_stays():
    label = np.array([0] * 900 + [1] * 95 + [2] * 5)
    chosen = choose_rows(label, 100, seed=0)
    assert len(chosen) <= 100
    assert np.bincount(label[chosen]).tolist() == [87, 9, 1]
    np.testing.assert_array_equal(chosen, choose_rows(label, 100, seed=0))


def test_features_that_are_not_finite_are_refused(make_run):
    run = make_run("a")
    (run / "features").mkdir()
    file = run / "features" / "test.parquet"
    pq.write_table(pa.table({"row": [0, 1], "f_0": [0.5, float("nan")]}), file)
    with pytest.raises(RunFileError, match="1 rows have features that are not finite"):
        read_features(file)
    pq.write_table(pa.table({"row": [0, 1]}), file)
    with pytest.raises(RunFileError, match="needs the columns row, f_0"):
        read_features(file)


def test_explanations_come_right_wrong_borderline(make_run):
    explained = read_explanations(write_explanations(make_run("a"), np.random.default_rng(0)))
    titles = [strip.title.split("\n")[0] for strip in explained.strips("MI")]
    assert titles == ["most confident right", "most confident wrong", "borderline"]
    assert explained.strips("MI")[1].title.endswith("label NORM, p(MI) 0.900")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attribution": np.zeros((4, 2, 10))}, "attribution does not fit"),
        ({"kind": np.array(["right", "wrong", "odd", "right"])}, "kind is odd"),
        ({"leads": np.array(["II"])}, "signal_mv does not fit"),
    ],
)
def test_explanations_that_do_not_fit_are_refused(make_run, changes, message):
    file = write_explanations(make_run("a"), np.random.default_rng(0), **changes)
    with pytest.raises(RunFileError, match=message):
        read_explanations(file)


def test_ecg_paper_is_true_to_scale():
    signal = np.zeros((1, 720))
    signal[0, 100], signal[0, 200] = 1.0, -0.5
    figure = figures.strips([Strip(signal, 360.0, ["II"], "a beat")], "note")
    axis = figure.axes[0]
    width_mm, height_mm = (side * MM_PER_INCH for side in figure.get_size_inches())
    box = axis.get_position()
    duration_s = np.diff(axis.get_xlim())[0]
    range_mv = np.diff(axis.get_ylim())[0]
    assert box.width * width_mm / duration_s == pytest.approx(25)
    assert box.height * height_mm / range_mv == pytest.approx(10)
    assert axis.get_ylim()[0] <= -0.5 < 1.0 <= axis.get_ylim()[1]


def test_latency_is_a_row_a_batch(make_run):
    run = make_run("a")
    write_benchmark(run)
    table = latency(block_of(run, make_run("b", seed=1)))
    assert [(row[0], row[5], row[6]) for row in table.rows] == [("a", 1, 12.5), ("a", 16, 12.5)]
    assert table.rows[0][table.columns.index("Size (MB)")] == "1.90"


def test_a_damaged_benchmark_is_named(make_run):
    run = make_run("a")
    (run / "benchmark.json").write_text('{"device": "cpu"}')
    with pytest.raises(RunFileError, match=r"benchmark\.json: .*parameters"):
        read_benchmark(run / "benchmark.json")
    assert read_benchmark(run / "none.json") is None
