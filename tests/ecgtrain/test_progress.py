from __future__ import annotations

import io

import pytest
from rich.console import Console

from ecgtrain.progress import LiveTable, duration, make_display


def entry(epoch, f1=0.5):
    return {
        "epoch": epoch,
        "train_loss": 1.25,
        "validation_loss": 1.5,
        "seconds": 20.0,
        "validation": {"f1": f1, "auroc": 0.75},
    }


def test_the_table_has_a_row_an_epoch():
    display = LiveTable()
    display.n_epochs, display.n_rows = 10, 4000
    for epoch in range(2):
        display.epoch(entry(epoch, None if epoch else 0.5))
    page = io.StringIO()
    Console(file=page, width=120).print(display._shown())
    lines = page.getvalue().splitlines()
    assert [word in lines[1] for word in ("epoch", "loss", "macro AUROC", "macro F1", "rows/s", "time left")] == [
        True
    ] * 6
    assert "1/10" in lines[3]
    assert [word in lines[3] for word in ("1.2500", "0.750", "0.500", "200", "3 min")] == [True] * 5
    assert "nan" in lines[4]


def test_a_pass_is_shown_while_it_lasts():
    display = LiveTable()
    display.start(1, 10)
    assert list(display.watch([1, 2], 2, "epoch 1")) == [1, 2]
    display.close()
    assert not display.bar.tasks


def test_elsewhere_nothing_is_shown(capsys):
    display = make_display()
    display.start(1, 10)
    assert display.watch([1], 1, "epoch 1") == [1]
    display.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (0.2, "1 s"), (42, "42 s"), (600, "10 min"), (7200, "2.0 h")]
)
def test_times_in_words(seconds, words):
    assert duration(seconds) == words
