"""Figures: both files, nothing cut off, no labels over each other, and awkward data."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from ecgeval import figures
from ecgeval.calibration import bin_equal_width

NOTE = "SYNTHETIC recordings. mitdb-0a1b2c3d, test: 49,712 rows of 22 patients; protocol interpatient"
RNG = np.random.default_rng(0)
CLASSES = ["NORM", "MI", "STTC", "CD", "HYP"]
LONG = [f"a_rather_long_model_name_{i}" for i in range(12)]
LONG_CLASSES = [f"an ectopic beat with a name that goes on and on, number {i}" for i in range(5)]
Y = RNG.random((80, 5)) < 0.3
P = RNG.random((80, 5))
AREAS = ["0.912 [0.880–0.934]"] * 5
VALUES = {title: RNG.random(12) for title in ("Sensitivity", "Specificity", "Precision", "F1-Score", "AUC-ROC")}
LINES = [
    {
        "epoch": i,
        "train_loss": 1 / (i + 1),
        "validation_loss": 1 + (i - 3) ** 2,
        "validation": {"f1": 0.1 * i},
        "per_class": {name: {"f1": 0.09 * i + 0.03 * k} for k, name in enumerate(CLASSES)},
    }
    for i in range(8)
]


def draw_bars():
    low = {title: np.maximum(values - 0.1, 0) for title, values in VALUES.items()}
    high = {title: np.minimum(values + 0.1, 1) for title, values in VALUES.items()}
    return figures.bars(LONG, VALUES, low, high, NOTE)


DRAWN = {
    "bars": draw_bars,
    "heatmap": lambda: figures.heatmap(LONG, CLASSES, RNG.random((12, 5)), "F1 of each class", NOTE),
    "one by one heatmap": lambda: figures.heatmap(["m"], ["NORM"], [[np.nan]], "F1 of each class", NOTE),
    "two by two": lambda: figures.two_by_two(CLASSES, np.full((5, 4), 12345), "resnet1d_wang: threshold", NOTE),
    "confusion": lambda: figures.confusion(list("NSVFQ"), np.full((5, 5), 44259), "resnet1d_wang", NOTE),
    "roc": lambda: figures.roc(CLASSES, Y, P, AREAS, [True] * 5, AREAS[0], "ROC curves", NOTE),
    "pr": lambda: figures.pr(CLASSES, Y, P, AREAS, "Precision–recall curves", NOTE),
    "long names in a confusion": lambda: figures.confusion(LONG_CLASSES, np.full((5, 5), 44259), "resnet1d_wang", NOTE),
    "long names in a heatmap": lambda: figures.heatmap(
        LONG_CLASSES, LONG_CLASSES, RNG.random((5, 5)), "F1 of each class", NOTE
    ),
    "many classes in a confusion": lambda: figures.confusion(
        LONG_CLASSES * 2, np.full((10, 10), 44259), "resnet1d_wang", NOTE
    ),
    "many classes in a heatmap": lambda: figures.heatmap(
        LONG, [f"SCP{i}/AB" for i in range(23)], RNG.random((12, 23)), "F1 of each class", NOTE
    ),
    "long names of curves": lambda: figures.pr(LONG_CLASSES, Y, P, AREAS, "Precision–recall curves", NOTE),
    "calibration": lambda: figures.calibration(
        {name: bin_equal_width(P[:, i], Y[:, i]) for i, name in enumerate(LONG_CLASSES)}, "Calibration", NOTE
    ),
    "training": lambda: figures.training_curves(
        [figures.Training(name, LINES) for name in LONG], LONG[0], CLASSES, NOTE
    ),
}


@pytest.fixture(params=DRAWN)
def figure(request):
    return DRAWN[request.param]()


def hidden_tick_labels(axes):
    """Return the labels of ticks beyond the ends of an axis, which Matplotlib makes but does not draw."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        yield from (t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high)


def texts_of(figure):
    """Return the texts that are seen, with their places in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    hidden = {text for axes in figure.axes for text in hidden_tick_labels(axes)}
    seen = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    seen = [text for text in seen if text not in hidden]
    seen = [text for text in seen if all(axis.get_visible() for axis in [text.axes] if axis is not None)]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in seen]


def test_no_text_is_cut_off(figure):
    width, height = figure.bbox.size
    for text, box in texts_of(figure):
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text


def test_no_text_lies_on_another(figure):
    for (a, first), (b, second) in itertools.combinations(texts_of(figure), 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        down = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert min(across, down) < 2, (a, b)


def test_print_size_is_readable(figure):
    printed = 7.0 / max(figure.get_figwidth(), 7.0)
    assert all(text.get_fontsize() * printed >= 6 for text in figure.findobj(Text) if text.get_text().strip())


def test_a_figure_is_saved_as_png_and_svg(tmp_path):
    files = figures.save(DRAWN["heatmap"](), tmp_path / "07_heatmap_f1_score")
    assert [file.name for file in files] == ["07_heatmap_f1_score.png", "07_heatmap_f1_score.svg"]
    assert files[0].read_bytes().startswith(b"\x89PNG")
    assert files[1].read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_a_class_without_positives_leaves_the_curves_drawable(tmp_path):
    y = Y.copy()
    y[:, 2] = False
    averaged = [True, True, False, True, True]
    figures.save(figures.roc(CLASSES, y, P, AREAS, averaged, "–", "ROC", NOTE), tmp_path / "roc")
    figures.save(figures.pr(CLASSES, y, P, AREAS, "PR", NOTE), tmp_path / "pr")
    assert (tmp_path / "roc.png").stat().st_size > 10_000


def test_the_best_epoch_is_that_of_the_lowest_validation_loss():
    assert figures.Training("a", LINES).best_epoch() == 3
    assert figures.Training("a", [{"epoch": 0}]).best_epoch() is None


def test_absent_figures_of_an_epoch_are_gaps():
    _, values = figures.Training("a", [{"epoch": 0}, {"epoch": 1, "validation": {"f1": 0.5}}]).curve("validation", "f1")
    np.testing.assert_array_equal(values, [np.nan, 0.5])


def test_no_text_is_a_formula(figure):
    assert not [text for text, _ in texts_of(figure) if "$" in text]


def test_class_names_are_drawn_as_they_are(tmp_path):
    names = ["$x$", "<b>", "a&b"]
    files = figures.save(figures.heatmap(names, names, np.eye(3), "$", "note"), tmp_path / "heatmap")
    assert files[0].is_file()
