"""Tables of all runs of a block beside each other."""

from __future__ import annotations

from ecgeval.benchmark import CINC2017_SCORED, cinc2017_score
from ecgeval.block import Block
from ecgeval.evaluation import Evaluation
from ecgeval.metrics import METRICS, OF_COUNTS, OF_ROWS
from ecgeval.passport import Key
from ecgeval.statistics.spread import spread
from ecgeval.tables.table import Row, Table, format_number

MACRO = ("sensitivity", "specificity", "precision", "f1", "accuracy", "auroc", "auprc")
PER_CLASS_FILES = {
    "f1": "02_per_class_f1_comparison",
    "sensitivity": "03_per_class_sensitivity_comparison",
    "auroc": "04_per_class_auc_roc_comparison",
}
SPREAD = ("f1", "sensitivity", "precision", "auroc", "auprc")
NOT_IN_TRAINING = ("name", "seed", "device", "placement", "resume")  # keys in which runs of one training may differ


def macro_comparison(block: Block) -> Table:
    """Return the macro means of all runs, best first by F1."""
    columns = ("Model", *(METRICS[metric].title for metric in MACRO), "Exact-Match", "Input", "Leads", "Run")
    rows: list[Row] = [
        (
            label,
            *(run.of(metric) for metric in MACRO),
            run.of("exact", "rows"),
            run.header.input,
            " ".join(run.header.leads),
            run.run.name,
        )
        for label, run in block.labelled()
    ]
    return Table("01_macro_comparison", "Macro comparison, best first by F1", columns, tuple(rows))


def other_averages(block: Block) -> Table:
    """Return micro and weighted means and the figures of whole rows for all runs."""
    columns = ("Model", "Average", *(METRICS[metric].title for metric in MACRO))
    rows: list[Row] = []
    for label, run in block.labelled():
        rows.append((label, "micro", *(run.of(m, "micro") if m in OF_COUNTS else "" for m in MACRO)))
        rows.append((label, "weighted", *(run.of(m, "weighted") for m in MACRO)))
    note = "Micro pools the counts over the scored classes first; weighted is by the rows that have each class."
    return Table("01b_micro_weighted_comparison", "Micro and weighted averages", columns, tuple(rows), note)


def whole_rows(block: Block) -> Table:
    """Return the figures that are not of one class: exact match, and kappa and MCC, or Hamming and Fmax."""
    names = ("exact", "kappa", "mcc") if block.header.task == "single" else ("exact", "hamming", "sample_f1")
    columns = ("Model", *(OF_ROWS[name].title for name in names))
    rows: list[Row] = [(label, *(run.of(name, "rows") for name in names)) for label, run in block.labelled()]
    return Table("01c_agreement_comparison", "Agreement over all classes", columns, tuple(rows))


def per_class_comparison(block: Block, metric: str) -> Table:
    """Return one metric of each class (columns) for all runs (rows).

    Parameters
    ----------
    block : Block
        The runs.
    metric : {"f1", "sensitivity", "auroc"}
        The metric.
    """
    rows: list[Row] = [
        (label, *(run.of(metric, "class", c) for c in block.header.classes)) for label, run in block.labelled()
    ]
    columns = ("Model", *block.header.classes)
    return Table(PER_CLASS_FILES[metric], f"{METRICS[metric].title} of each class", columns, tuple(rows))


def thresholds_beside_half(block: Block) -> Table:
    """Return the macro means of all runs at the thresholds in use, with those at 0.5 beside them."""
    metrics = ("f1", "sensitivity", "specificity", "precision")
    pairs = [f"{METRICS[metric].title}{at}" for metric in metrics for at in ("", " at 0.5")]
    rows: list[Row] = [
        (label, run.rule, *(n for m in metrics for n in (run.of(m), run.at_half[Key(m, "macro")])))
        for label, run in block.labelled()
    ]
    return Table("thresholds", "Thresholds, with 0.5 beside them", ("Model", "Rule", *pairs), tuple(rows))


def windows_compared(block: Block) -> Table:
    """Return macro AUROC and F1 with the windows of a row combined by mean and by maximum."""
    rows: list[Row] = [
        (label, run.sample.most_windows, how, figures["auroc"], figures["f1"])
        for label, run in block.labelled()
        for how, figures in run.by_windows.items()
    ]
    columns = ("Model", "Windows", "Combined by", "AUC-ROC", "F1-Score")
    note = "Published PTB-XL figures use the maximum over crops (the benchmark of 2020) or the mean (later ones)."
    return Table("windows", "Windows of a record combined", columns, tuple(rows), note)


def folds(block: Block) -> Table:
    """Return each run's macro means over its folds as mean ± SD, with the pooled figure beside them."""
    rows: list[Row] = []
    for label, run in block.labelled():
        for fold, figures in run.folds.items():
            rows.append((label, f"fold {fold}", *(figures[metric] for metric in SPREAD)))
        if run.folds:
            over = {metric: [figures[metric] for figures in run.folds.values()] for metric in SPREAD}
            rows.append((label, "mean ± SD of folds", *(str(spread(over[metric])) for metric in SPREAD)))
            rows.append((label, "pooled", *(run.of(metric) for metric in SPREAD)))
    columns = ("Model", "Fold", *(METRICS[metric].title for metric in SPREAD))
    note = "The mean over folds and the pooled figure, of all folds' rows at once, are two things and differ."
    return Table("folds", "Folds", columns, tuple(rows), note)


def seeds(block: Block) -> Table:
    """Return mean ± SD over the seeds of one training, with the sampling interval of the first run beside it."""
    rows: list[Row] = []
    for members in seed_groups(block):
        label, first = members[0]
        seeds_used = ", ".join(sorted((str(run.header.seed) for _, run in members), key=lambda seed: (len(seed), seed)))
        spreads = [str(spread([run.of(metric).value for _, run in members])) for metric in SPREAD]
        rows.append((_trained(first), first.header.input, seeds_used, *spreads, label, first.of("f1")))
    columns = (
        "Model",
        "Input",
        "Seeds",
        *(METRICS[metric].title for metric in SPREAD),
        "Best run",
        "F1-Score of the best run",
    )
    note = "± is the scatter of training; the interval is that of the patients. They are different doubts."
    return Table("seeds", "Seeds: mean ± SD over trainings", columns, tuple(rows), note)


def _trained(run: Evaluation) -> str:
    """Return a run's model and, of one that was fine-tuned, what it started from."""
    model, started = run.header.model, run.header.pretraining
    if started is None:
        return model
    return f"{model}, pre-trained on {100 * started.fraction:g} %" if started.fraction else f"{model}, random weights"


def seed_groups(block: Block) -> list[list[tuple[str, Evaluation]]]:
    """Return the runs, with labels, that differ in their seed alone; groups of at least two."""
    groups: dict[str, list[tuple[str, Evaluation]]] = {}
    for label, run in block.labelled():
        groups.setdefault(_training(run), []).append((label, run))
    return [members for members in groups.values() if len({run.header.seed for _, run in members}) > 1]


def calibration(block: Block) -> Table:
    """Return the figures of calibration of all runs, as predicted and at the temperature fitted on validation."""
    names = list(block.best.calibration["as predicted"])
    rows: list[Row] = [
        (label, how, *(figures[name] for name in names))
        for label, run in block.labelled()
        for how, figures in run.calibration.items()
    ]
    note = "Lower is better. ECE: 15 bins of equal width, most probable class; adaptive: bins of equally many rows."
    return Table("calibration", "Calibration", ("Model", "Probabilities", *names), tuple(rows), note)


def cinc2017(block: Block) -> Table:
    """Return the score of the Challenge 2017, its F1, and the macro over all four classes beside it."""
    classes = block.header.classes
    rows: list[Row] = []
    for label, run in block.labelled():
        f1 = {c: run.of("f1", "class", c) for c in classes}
        score = float(cinc2017_score({c: number.value for c, number in f1.items()}))
        macro = sum(number.value for number in f1.values()) / len(f1)
        rows.append((label, score, macro, *f1.values()))
    columns = ("Model", "CinC 2017 score", "F1_macro4", *(f"F1_{c}" for c in classes))
    note = f"The score is the mean F1 of {', '.join(CINC2017_SCORED)}; macro4 also counts the noisy class."
    return Table("cinc2017", "CinC Challenge 2017", columns, tuple(rows), note)


def has_cinc2017(block: Block) -> bool:
    """Return whether the block's labels are those of the Challenge 2017."""
    return block.header.scheme == "rhythm4" and set(CINC2017_SCORED) <= set(block.header.classes)


def ptbxl(block: Block) -> Table:
    """Return macro AUROC with the interval of the PTB-XL benchmark, and Fmax."""
    rows: list[Row] = [
        (label, run.of("auroc", "benchmark"), run.of("fmax", "rows"), " ".join(run.header.leads), run.run.name)
        for label, run in block.labelled()
    ]
    columns = ("Model", "Macro AUROC", "Fmax", "Leads", "Run")
    note = (
        "The mean over all classes as the benchmark of 2020 gives it: 5 and 95 % quantiles over resamples of records "
        "that hold every class. Published figures are of fold 10 with twelve leads; about 0.006 is noise."
    )
    return Table("ptbxl_benchmark", "PTB-XL as its benchmark computes it", columns, tuple(rows), note)


def pretraining_fractions(block: Block) -> Table:
    """Return the F1 of fine-tuned runs, and of those from random weights, against the fraction of pre-training."""
    rows: list[Row] = [
        (name, _fraction(run), run.header.seed if run.header.seed is not None else "", *_fraction_scores(block, run))
        for name, curve in sorted(pretraining_curves(block).items())
        for run in sorted(curve, key=_fraction)
    ]
    scores = ("F1_macro", *(["F1_cinc3"] if has_cinc2017(block) else []), *(f"F1_{c}" for c in block.header.classes))
    columns = ("Input", "Fraction", "Trial", *scores, "Epochs")
    return Table("pretraining_fraction", "F1 against the pre-training fraction", columns, tuple(rows))


def macro_line(run: Evaluation) -> str:
    """Return a run's macro F1 and AUROC in one line."""
    return f"macro F1 {format_number(run.of('f1'))}, macro AUROC {format_number(run.of('auroc'))}"


def pretraining_curves(block: Block) -> dict[str, list[Evaluation]]:
    """Return the fine-tuned runs of a block, those of one training and objective together, by a name.

    Runs of the same training that started from random weights are on each of its curves. A curve is named by its
    input and, where that is the name of several, by its model, its objective and at last by its first run too.
    """
    trainings: dict[str, list[Evaluation]] = {}
    for _, run in block.labelled():
        if run.header.pretraining:
            trainings.setdefault(_training(run, ("init_from", "transfer")), []).append(run)
    curves = [curve for runs in trainings.values() for curve in _curves_of(runs)]
    return dict(zip(_names_of_curves(curves), curves, strict=True))


def _curves_of(runs: list[Evaluation]) -> list[list[Evaluation]]:
    """Return the runs of one training by the objective of pre-training, those from random weights with each."""
    random = [run for run in runs if _fraction(run) == 0]
    tuned = [run for run in runs if _fraction(run) > 0]
    objectives = sorted({_objective(run) for run in tuned})
    return [random + [run for run in tuned if _objective(run) == objective] for objective in objectives]


def _names_of_curves(curves: list[list[Evaluation]]) -> list[str]:
    """Return a name a curve, no longer than needed to tell it from all others."""
    tuned = [next(run for run in curve if _fraction(run) > 0) for curve in curves]
    facts = [(run.header.input or "input", run.header.model, _objective(run), run.run.name) for run in tuned]
    names = []
    for own in facts:
        n = next((n for n in range(1, len(own)) if sum(other[:n] == own[:n] for other in facts) == 1), len(own))
        names.append(", ".join(part for part in own[:n] if part))
    return names


def _fraction(run: Evaluation) -> float:
    assert run.header.pretraining is not None
    return run.header.pretraining.fraction


def _objective(run: Evaluation) -> str:
    assert run.header.pretraining is not None
    return run.header.pretraining.objective


def _fraction_scores(block: Block, run: Evaluation) -> Row:
    f1 = {c: run.of("f1", "class", c) for c in block.header.classes}
    score = [float(cinc2017_score({c: n.value for c, n in f1.items()}))] if has_cinc2017(block) else []
    return (run.of("f1"), *score, *f1.values(), len(run.run.history))


def _training(run: Evaluation, but: tuple[str, ...] = ()) -> str:
    config = {key: value for key, value in run.run.config.items() if key not in (*NOT_IN_TRAINING, *but)}
    return repr((run.header.model, run.header.input, sorted(config.items())))
