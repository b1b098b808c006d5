"""The report's folder and its page."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread as read_image
from PIL import Image

from ecgeval.config import Evaluate
from ecgeval.errors import RequestError
from ecgeval.figures import style
from ecgeval.page import inline
from ecgeval.report import report, score
from ecgeval.runs import read_run

FILES = {
    "01_macro_comparison.csv",
    "02_per_class_f1_comparison.csv",
    "03_per_class_sensitivity_comparison.csv",
    "04_per_class_auc_roc_comparison.csv",
    "05_best_model_detailed.csv",
    "01b_micro_weighted_comparison.csv",
    "01c_agreement_comparison.csv",
    "calibration.csv",
    "differences_to_best.csv",
    "ptbxl_benchmark.csv",
    "thresholds.csv",
    "worst_records.csv",
    "EVALUATION_SUMMARY.txt",
    "DETAILED_METRICS_REPORT.txt",
    "report.json",
    "report.html",
}
FIGURES = {
    "06_model_comparison_bars",
    "07_heatmap_f1_score",
    "07_heatmap_sensitivity",
    "07_heatmap_specificity",
    "07_heatmap_auc_roc",
    "08_confusion_matrices",
    "09_roc_curves",
    "10_pr_curves",
    "training_curves",
    "calibration_curve",
    "error_map",
}
DRAWN = Evaluate(bootstrap=20)
QUICK = Evaluate(bootstrap=20, figures=False)


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Draw coarser than in print, which takes a third of the time."""
    monkeypatch.setattr(style, "DPI", 50)


@pytest.fixture
def write_report(tmp_path):
    def write(*runs, out=tmp_path / "report", config=QUICK):
        return report(score([read_run(run) for run in runs], config), config, out)

    return write


@pytest.fixture(scope="module")
def shared_page(shared_runs, tmp_path_factory):
    """The page of a report to look at, never to change."""
    out = tmp_path_factory.mktemp("shared") / "report"
    return report(score([read_run(run) for run in shared_runs], DRAWN), DRAWN, out)


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class Resources(HTMLParser):
    """Collects what a page loads, its visible text, and the titles."""

    def __init__(self):
        super().__init__()
        self.loaded, self.titles, self.origins, self.tags, self.text = [], [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "data") or (name == "href" and not value.startswith("#")):
                self.loaded.append(value)
            if name == "title":
                self.titles.append(value)
            if name == "data-origin":
                self.origins.append(value)

    def handle_data(self, data):
        self.text += data


def parse(page):
    parser = Resources()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_every_file_is_there_and_nothing_else(shared_page):
    folder = shared_page.parent
    drawn = {f"visualizations/{name}.{suffix}" for name in FIGURES for suffix in ("png", "svg")}
    assert shared_page == folder / "report.html"
    assert files_in(folder) == FILES | drawn
    assert not list(folder.parent.glob(".building*"))


def test_the_page_holds_every_figure_and_loads_nothing(shared_page):
    page = parse(shared_page)
    assert len(page.loaded) == len(FIGURES)
    assert all(source.startswith("data:image/webp;base64,") for source in page.loaded)
    assert page.tags.count("script") == 1
    assert "link" not in page.tags


def test_styles_load_nothing(shared_page):
    text = shared_page.read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?://", text)


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Opens a page in a browser without a screen and returns what it prints on both streams."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("a browser: install chromium")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run --enable-logging=stderr"
    )
    profile = tmp_path_factory.mktemp("profile")

    def run(page, *more):
        command = [
            chromium,
            *flags.split(),
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            *more,
            page.as_uri(),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        return done.stdout, done.stderr

    return run


@pytest.mark.parametrize("width", [1400, 500], ids=["desk", "phone"])
def test_a_browser_shows_the_page_with_its_figures(browse, shared_page, tmp_path, width):
    picture = tmp_path / "page.png"
    _, said = browse(shared_page, f"--window-size={width},6000", f"--screenshot={picture}")
    page = read_image(picture)[..., :3]
    marked = (page.min(axis=2) < 0.9).mean(axis=1)  # share of each line that is not near white
    assert "CONSOLE" not in said
    assert page.shape[:2] == (6000, width)
    assert marked[:900].max() > 0.05
    assert (marked[1500:] > 0.15).sum() > 100, "the tables and figures are not there"


PRESSES = """
{
const errors = [];
window.addEventListener("error", (event) => errors.push(event.message));
const table = document.querySelector("table.sortable");
const heading = [...table.tHead.rows[0].cells].find((cell) => cell.textContent === "AUC-ROC");
const column = () => [...table.tBodies[0].rows].map((row) => row.cells[heading.cellIndex].dataset.value).join(" ");
const states = [];
for (let i = 0; i < 2; i++) { heading.querySelector("button").click(); states.push(heading.ariaSort + " " + column()); }
const first = table.querySelector("td[data-passport]");
first.focus();
const shown = document.getElementById("passport").textContent.split("\\n")[0];
first.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
const moved = document.activeElement === first.nextElementSibling;
document.getElementById("theme").click();
const theme = document.documentElement.dataset.theme;
document.title = JSON.stringify({ errors, states, shown, moved, theme, wide: document.documentElement.scrollWidth });
}
"""


def test_sorting_keyboard_and_theme_work(browse, shared_page, tmp_path):
    """A copy of the page with a script at its end that presses what a reader presses."""
    copy = tmp_path / "copy.html"
    copy.write_text(shared_page.read_text(encoding="utf-8").replace("</body>", f"<script>{PRESSES}</script></body>"))
    dom, _ = browse(copy, "--dump-dom", "--window-size=500,900")
    seen = json.loads(html.unescape(re.search("<title>(.*?)</title>", dom, re.DOTALL)[1]))
    assert seen["errors"] == []
    orders = [state.split() for state in seen["states"]]
    assert [order[0] for order in orders] == ["descending", "ascending"]
    values = [[float(value) for value in order[1:]] for order in orders]
    assert values[0] == sorted(values[0], reverse=True)
    assert values[1] == sorted(values[1])
    assert seen["shown"].startswith("macro Sensitivity over NORM")
    assert seen["moved"]
    assert seen["theme"] == "dark"
    assert seen["wide"] <= 500, "the page is wider than a phone; only tables may scroll sideways"


def test_class_names_are_escaped(make_run, made_up, write_report):
    classes = ["<script>alert(1)</script>", "A&B", "C"]
    header = made_up.header(run="a", classes=classes, score_classes=classes)
    run = make_run("a")
    y, p = made_up.multi_label(80, np.random.default_rng(0))
    for split in ("test", "validation"):
        made_up.write(run / "predictions" / f"{split}.parquet", header, y[:, :3], p[:, :3])
    (run / "calibration.json").unlink()
    page = parse(write_report(run, config=DRAWN))
    assert page.tags.count("script") == 1
    assert "<script>alert(1)</script>" in page.text
    assert "A&B" in page.text


def test_numbers_have_their_passport(shared_page):
    page = parse(shared_page)
    at = next(i for i, title in enumerate(page.titles) if title.startswith("macro F1-Score"))
    assert "NORM, MI" in page.titles[at]
    assert "95 % interval" in page.titles[at]
    text = shared_page.read_text(encoding="utf-8")
    origin = re.search(f'<p class="origin" id="{page.origins[at]}">(.*?)</p>', text, re.DOTALL)[1]
    for part in ("20 resamples", "300 rows", "test of ptbxl-folds", "d" * 12, "torch"):
        assert part in origin


def test_each_number_names_an_origin_and_each_origin_stands_once(shared_page):
    page = parse(shared_page)
    text = shared_page.read_text(encoding="utf-8")
    listed = re.findall(r'<p class="origin" id="(.*?)">', text)
    assert len(page.origins) == len(page.titles)
    assert set(page.origins) == set(listed)
    assert len(listed) == len(set(listed)) == 4  # of two runs, each at its thresholds and at 0.5


def test_a_figure_too_long_to_pack_stays_png(tmp_path):
    Image.new("RGB", (4, 16_384)).save(tmp_path / "long.png")
    assert str(inline(tmp_path / "long.png")).startswith("data:image/png;base64,")


def test_a_figure_in_the_page_has_the_very_pixels_of_its_file_in_fewer_bytes(shared_page):
    file = shared_page.parent / "visualizations" / "07_heatmap_f1_score.png"
    data = base64.b64decode(str(inline(file)).removeprefix("data:image/webp;base64,"))
    with Image.open(file) as drawn, Image.open(io.BytesIO(data)) as shown:
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(drawn.convert("RGB")))
    assert len(data) < 0.6 * file.stat().st_size


def test_json_holds_every_number_with_its_passport(shared_page):
    folder = shared_page.parent
    data = json.loads((folder / "report.json").read_text(), parse_constant=pytest.fail)
    numbers = data["blocks"][0]["runs"][0]["numbers"]
    f1 = next(n for n in numbers if (n["metric"], n["average"]) == ("f1", "macro"))
    assert f1["low"] <= f1["value"] <= f1["high"]
    for key in (
        "definition",
        "n_rows",
        "split",
        "protocol",
        "leaks",
        "store_digest",
        "rows_digest",
        "split_digest",
        "data_version",
        "seed",
        "recipe_hash",
    ):
        assert key in f1
    assert len(numbers) == 8 * (5 + 2) + 6 + 3 + 2  # exact match, Hamming, sample F1; benchmark and Fmax
    assert data["blocks"][0]["runs"][0]["passport"]["versions"]["torch"]
    assert data["evaluate"]["bootstrap"] == 20
    assert set(data["files"]) == files_in(folder)


def test_blocks_stand_apart(make_run, made_up, write_report):
    leaking = make_run("a", header={"protocol": "random", "leaks": ["patient"], "leak_note": "Rows at random."})
    page = write_report(leaking, make_run("b"), config=DRAWN)
    folder = page.parent
    assert (folder / "random-superclass" / "01_macro_comparison.csv").is_file()
    rows = (folder / "01_macro_comparison.csv").read_text().splitlines()
    assert len(rows) == 2
    assert rows[1].endswith(",b") or ",b," in rows[1]
    text = parse(page).text
    assert "stand in 2 blocks" in text
    assert "This protocol leaks: patient." in text
    assert text.count("protocol random (leaks: patient)") >= 6


def test_synthetic_recordings_are_stamped(make_run, made_up, write_report, shared_page):
    plain = shared_page.read_text(encoding="utf-8")
    store = made_up.header()["store"] | {"synthetic": True}
    page = parse(write_report(make_run("b", header={"store": store})))
    assert "SYNTHETIC recordings" not in plain
    assert "SYNTHETIC recordings" in page.text
    assert "store ptbxl-0a1b2c3d, digest dddddddddddd, SYNTHETIC" in page.text


def test_a_second_report_leaves_no_stale_file_and_no_foreign_one_is_touched(make_run, made_up, write_report):
    first = write_report(make_run("a", header=made_up.beat_header()), make_run("b", header={"protocol": "other"}))
    folder = first.parent
    beats = next(folder.rglob("beats_per_record.csv")).parent
    assert {"confusion_matrix.csv", "ec57_per_record.csv", "ec57_confusion.csv"} <= files_in(beats)
    assert not (beats / "thresholds.csv").exists()
    (folder / "notes.txt").write_text("mine")
    write_report(make_run("c"))
    assert "confusion_matrix.csv" not in files_in(folder)
    assert not (folder / "interpatient-aami").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_protocol_with_slashes_stays_inside_the_report(make_run, write_report, tmp_path):
    page = write_report(make_run("a", header={"protocol": "../../pro tocol"}), make_run("b"))
    assert (page.parent / "pro-tocol-superclass" / "01_macro_comparison.csv").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"home", "report"}


def test_a_folder_that_is_no_report_is_left_alone(make_run, write_report, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(RequestError, match="holds files but no report"):
        write_report(make_run(), out=tmp_path / "thesis")
    assert files_in(tmp_path / "thesis") == {"chapter.txt"}


def test_a_failed_report_leaves_the_former_one(make_run, write_report, monkeypatch):
    page = write_report(make_run("a"))
    before = page.read_text(encoding="utf-8")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ecgeval.report.render", fail)
    with pytest.raises(OSError, match="No space"):
        write_report(make_run("b"))
    assert page.read_text(encoding="utf-8") == before
    assert not list(page.parent.parent.glob(".building*"))


def one_row(y, p):
    return y[:1], p[:1]


def one_class(y, p):
    return np.broadcast_to(y[:1] * 0 + np.eye(1, 5), y.shape), p


def all_wrong(y, p):
    return y, np.where(y, 0.1, 0.9)


def constant(y, p):
    return y, np.full_like(p, 0.2)


@pytest.mark.parametrize(
    ("awkward", "task"), [(one_row, "multi"), (one_class, "single"), (all_wrong, "multi"), (constant, "single")]
)
def test_awkward_predictions_are_reported(make_run, made_up, write_report, awkward, task):
    rng = np.random.default_rng(3)
    header = made_up.beat_header(run="a") if task == "single" else made_up.header(run="a")
    y, p = awkward(*(made_up.single_label if task == "single" else made_up.multi_label)(60, rng))
    if task == "single":
        p = p / p.sum(axis=1, keepdims=True)
    run = make_run("a", header=header)
    made_up.write(run / "predictions" / "test.parquet", header, y, p)
    page = parse(write_report(run, config=DRAWN))
    assert "nan" not in page.text.lower().replace("nance", "")
    assert len(page.loaded) == len(FIGURES) - (len(y) == 1)  # one record has no map of errors, nor have no errors


def test_the_same_runs_give_the_same_numbers(shared_runs):
    runs = [read_run(run) for run in shared_runs]
    first, second = (score(runs, QUICK)[0].best.numbers for _ in range(2))
    assert repr(first) == repr(second)


def test_a_report_without_intervals_says_so(make_run, write_report):
    page = parse(write_report(make_run(), config=Evaluate(bootstrap=0, figures=False)))
    assert "There are no intervals" in page.text
    assert "no interval" in page.titles[0]


def test_a_report_without_figures_says_so(make_run, write_report):
    page = write_report(make_run())
    assert "No figures were asked for." in parse(page).text
    assert parse(page).loaded == []
    assert not list((page.parent / "visualizations").glob("*"))


def test_runs_without_history_have_no_training_curves(make_run, write_report):
    run = make_run()
    (run / "history.jsonl").unlink()
    page = write_report(run, config=DRAWN)
    assert not (page.parent / "visualizations" / "training_curves.png").exists()
    assert "No run of this block has a training history." in parse(page).text
