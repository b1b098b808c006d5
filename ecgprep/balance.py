"""Balancing: the training rows of each protocol, and of each run over folds, brought to one number a class.

What is asked for is planned and refused from the labels and splits alone, before a signal is read. It is drawn from the
training rows of one protocol or run at a time, so that no other row can be a parent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ecgprep.config import BALANCE_KEYS, Prepare
from ecgprep.neighbours import Advance, NoHardNeighboursError, Pairs, draw_adasyn, draw_smote
from ecgprep.progress import Progress
from store.balance import Balance, balance_path
from store.errors import UnknownNameError, UserError
from store.plan import Values
from store.read import Split, Store
from store.vocabulary import TRAIN

MIXED = {"smote": draw_smote, "adasyn": draw_adasyn}
METHODS = (*MIXED, "over", "under")
SHOWN_FAULTS = 3


@dataclass(frozen=True)
class BalanceTask:
    """One balance before it is drawn.

    Parameters
    ----------
    prepare : Prepare
        The recipe, whose keys say how.
    method : str
        One of `METHODS`.
    protocol : str
        The split protocol.
    fold : int or None
        The run over folds.
    scheme : str
        The label scheme.
    classes : tuple of str
        Its classes.
    left : tuple of str
        Classes that are left as they are.
    label : ndarray of int8, shape (n_rows,)
        Class of each training row; −1 for all other rows.
    """

    prepare: Prepare
    method: str
    protocol: str
    fold: int | None
    scheme: str
    classes: tuple[str, ...]
    left: tuple[str, ...]
    label: NDArray[np.int8]

    @property
    def name(self) -> str:
        """Name of the balance: the method, and every parameter that is not the default."""
        fields = Prepare.model_fields
        parts = [self.method]
        if self.prepare.samples_per_class != fields["samples_per_class"].default:
            parts.append(str(self.prepare.samples_per_class))
        if self.method in MIXED and self.prepare.balance_neighbours != fields["balance_neighbours"].default:
            parts.append(f"k{self.prepare.balance_neighbours}")
        if self.method != "under" and self.prepare.balance_copies is not None:
            parts.append(f"x{self.prepare.balance_copies:g}")
        if self.prepare.balance_leave:
            left = "+".join(sorted(self.prepare.balance_leave))
            parts.append("without-" + left.replace("/", "~1"))  # as in a JSON pointer: a slash would nest groups
        return "-".join(parts)

    @property
    def path(self) -> str:
        """Where the balance goes in the store."""
        return balance_path(self.protocol, self.fold, self.name)

    @property
    def where(self) -> str:
        """The protocol and run, for messages."""
        return self.protocol if self.fold is None else f"run {self.fold} of {self.protocol}"

    @cached_property
    def before(self) -> dict[str, int]:
        """Training rows of each class."""
        return {name: int((self.label == number).sum()) for number, name in enumerate(self.classes)}

    @cached_property
    def wanted(self) -> dict[str, int]:
        """Rows that each class is brought to."""
        return {name: n if name in self.left else self._reachable(n) for name, n in self.before.items()}

    def _reachable(self, n: int) -> int:
        most = 1 if self.method == "under" else self.prepare.balance_copies
        per_class = self.prepare.samples_per_class
        return per_class if most is None else min(int(n * most), per_class)

    def n_new(self) -> dict[int, int]:
        """Return how many rows to make, by the number of the class, where there are any."""
        before, wanted = self.before, self.wanted
        short = {number: wanted[name] - before[name] for number, name in enumerate(self.classes)}
        return {number: n for number, n in short.items() if n > 0}

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the classes that cannot be balanced, each with the reason."""
        need = self.prepare.balance_neighbours + 1 if self.method in MIXED else 1
        for name, n in self.before.items():
            if name in self.left or n >= self.prepare.samples_per_class:
                continue
            if n == 0:
                yield name, f"class {name} has no training row in {self.where}"
            elif n < need:
                yield name, f"class {name} has {n} training rows in {self.where}, {self.method} needs {need}"


def check_methods(prepare: Prepare) -> None:
    """Raise if a recipe names a balance that there is not, or says how to balance but names none.

    Raises
    ------
    UnknownNameError
        With the nearest name.
    UserError
        For a key that would be ignored.
    """
    given = sorted((BALANCE_KEYS - {"balance"}) & prepare.model_fields_set)  # one that is given its default too
    if given and not prepare.balance:
        raise UserError(f"{given[0]} belongs to a balance, and none is asked for; add --balance smote, or leave it out")
    for method in prepare.balance:
        if method not in METHODS:
            raise UnknownNameError("balance", method, METHODS)


def _check_alignment(prepare: Prepare) -> None:
    for method in prepare.balance:
        if method in MIXED and not str(prepare.unit).startswith(("beat", "given:beat")):
            raise UserError(
                f"--balance {method} mixes two rows sample by sample, so their R waves have to lie at one place; rows "
                f"of unit {prepare.unit} have several. Use --balance over or under, or class weights in training"
            )


def plan_balances(values: Mapping[str, Values], prepare: Prepare) -> list[BalanceTask]:
    """Return the balances that a recipe asks for: one a method, protocol and run over folds.

    Protocols without training rows have none. Classes that a protocol does not score are left as they are.

    Parameters
    ----------
    values : mapping
        Labels and splits by their path in the store.
    prepare : Prepare
        The resolved recipe.

    Raises
    ------
    UserError
        If rows have several labels, if a class has too few rows, if a name is unknown, or if rows that are no beats
        would be mixed.
    """
    if not prepare.balance:
        return []
    splits = _single_label_splits(values, prepare)
    _check_alignment(prepare)
    _check_left(values, splits, prepare)
    tasks = [
        _task(values, prepare, method, split, fold)
        for method in prepare.balance
        for split in splits
        for fold in (range(split.n_folds) if split.n_folds else (None,))
    ]
    tasks = [task for task in tasks if (task.label >= 0).any()]
    _refuse([fault for task in tasks for fault in task.faults()], prepare)
    return tasks


def _single_label_splits(values: Mapping[str, Values], prepare: Prepare) -> list[Split]:
    names = [path.removeprefix("split/") for path in values if path.startswith("split/")]
    for name in prepare.balance_protocols:
        if name not in names:
            raise UnknownNameError("protocol", name, names)
    splits = []
    for name in prepare.balance_protocols or names:
        stored = values[f"split/{name}"]
        splits.append(Split.from_stored(name, stored.values, stored.attributes))
    several = [split for split in splits if values[f"label/{split.scheme}"].attributes["multilabel"]]
    if several and (prepare.balance_protocols or len(several) == len(splits)):
        raise UserError(
            f"--balance {','.join(prepare.balance)}: rows of scheme {several[0].scheme!r} have several labels, so that "
            "one that is made or left out for one class is so for its others too. Weight the positive labels in "
            "training instead (ecgtrain run --set class_weights=inverse)"
        )
    return [split for split in splits if split not in several]


def _check_left(values: Mapping[str, Values], splits: Sequence[Split], prepare: Prepare) -> None:
    """Raise if a class that is to be left is one of no split's labels."""
    schemes = list(dict.fromkeys(split.scheme for split in splits))
    classes = [name for scheme in schemes for name in values[f"label/{scheme}"].attributes["classes"]]
    as_list = "Write names with commas in them as a list, in quotes." if any("," in name for name in classes) else ""
    for name in prepare.balance_leave:
        if name not in classes:
            raise UnknownNameError(f"class of {' or '.join(schemes)}", name, classes, as_list)


def _task(values: Mapping[str, Values], prepare: Prepare, method: str, split: Split, fold: int | None) -> BalanceTask:
    label = values[f"label/{split.scheme}"]
    classes = tuple(label.attributes["classes"])
    training_label = np.where(split.of_fold(fold).values == TRAIN, label.values, -1).astype(np.int8)
    here = [classes[number] for number in np.unique(training_label[training_label >= 0])]
    left = {*prepare.balance_leave, *(name for name in classes if name not in split.score_classes)}
    left |= set(here) if len(here) == 1 else set()  # there is nothing to balance it with
    return BalanceTask(
        prepare=prepare,
        method=method,
        protocol=split.protocol,
        fold=fold,
        scheme=split.scheme,
        classes=classes,
        left=tuple(name for name in classes if name in left),
        label=training_label,
    )


def _refuse(faults: Sequence[tuple[str, str]], prepare: Prepare) -> None:
    """Raise if a class cannot be balanced, with the setting that leaves all such classes as they are."""
    if not faults:
        return
    reasons: dict[str, str] = {}
    for name, reason in faults:
        reasons.setdefault(name, reason)  # a class may fail in every run over folds
    shown = list(reasons.values())[:SHOWN_FAULTS]
    more = f" (and {len(faults) - len(shown)} more)" if len(faults) > len(shown) else ""
    leave = json.dumps([*prepare.balance_leave, *reasons], ensure_ascii=False)
    mixed = any(method in MIXED for method in prepare.balance)
    raise UserError(
        f"cannot balance: {'; '.join(shown)}{more}. Leave what fails as it is with --set 'balance_leave={leave}', or "
        "name the protocols to balance with --set balance_protocols=NAME"
        + ("; fewer rows are enough with a lower balance_neighbours" if mixed else "")
    )


def draw_balance(task: BalanceTask, store: Store, advance: Advance = lambda n: None) -> Balance:
    """Return one balance, drawn from the training rows of its protocol and run.

    Parameters
    ----------
    task : BalanceTask
        What to draw.
    store : Store
        Whose signals.
    advance : callable
        Called with the number of rows whose neighbours have been found since the last call.

    Raises
    ------
    UserError
        If ADASYN finds no row of a class near another class.
    """
    kept = _under_sample(task)
    pairs = _mixed(task, store, kept, advance) if task.method in MIXED else _repeated(task, kept)
    keep = np.zeros(len(task.label), bool)
    keep[kept] = True
    made = {name: int((pairs.classes == number).sum()) for number, name in enumerate(task.classes)}
    here = {name: int((task.label[kept] == number).sum()) for number, name in enumerate(task.classes)}
    return Balance(
        protocol=task.protocol,
        fold=task.fold,
        name=task.name,
        parents=pairs.parents,
        weights=pairs.weights.astype(np.float32),
        classes=pairs.classes.astype(np.int8),
        keep=keep,
        facts=_facts(task, {name: here[name] + made[name] for name in task.classes}),
    )


def _facts(task: BalanceTask, after: Mapping[str, int]) -> dict[str, Any]:
    prepare, before = task.prepare, task.before
    mixed = {"neighbours": prepare.balance_neighbours} if task.method in MIXED else {}
    return {
        "method": task.method,
        "scheme": task.scheme,
        "classes": list(task.classes),
        "samples_per_class": prepare.samples_per_class,
        "copies": prepare.balance_copies,
        "left": list(task.left),
        "seed": prepare.seed,
        **mixed,
        "before": before,
        "after": dict(after),
        "replication": {name: round(after[name] / n, 3) for name, n in before.items() if n},
    }


def _under_sample(task: BalanceTask) -> NDArray[np.int64]:
    """Return the training rows that are kept, ascending: of classes with too many, some at random."""
    from imblearn.under_sampling import RandomUnderSampler

    rows = np.flatnonzero(task.label >= 0)
    wanted, before = task.wanted, task.before
    too_many = {number: wanted[name] for number, name in enumerate(task.classes) if wanted[name] < before[name]}
    if not too_many:
        return rows
    sampler = RandomUnderSampler(sampling_strategy=too_many, random_state=task.prepare.seed)
    sampler.fit_resample(rows[:, None], task.label[rows])
    return np.sort(rows[sampler.sample_indices_])


def _repeated(task: BalanceTask, kept: NDArray[np.int64]) -> Pairs:
    """Return copies of rows, each a pair of a row with itself; none for a method that makes none."""
    from imblearn.over_sampling import RandomOverSampler

    n_new = task.n_new()
    if not n_new:
        return Pairs.joined([])
    wanted = {number: task.wanted[task.classes[number]] for number in n_new}
    sampler = RandomOverSampler(sampling_strategy=wanted, random_state=task.prepare.seed)
    sampler.fit_resample(kept[:, None], task.label[kept])
    copied = kept[sampler.sample_indices_[len(kept) :]]
    return Pairs(np.stack([copied, copied], axis=1), np.zeros(len(copied)), task.label[copied].astype(np.int64))


def _mixed(task: BalanceTask, store: Store, kept: NDArray[np.int64], advance: Advance) -> Pairs:
    n_new = task.n_new()
    if task.method == "smote":
        kept = kept[np.isin(task.label[kept], list(n_new))]  # no other class has a say
    classes = task.label[kept].astype(np.int64)
    rows = read_rows(store.signal, kept)
    try:
        pairs = MIXED[task.method](rows, classes, n_new, task.prepare.balance_neighbours, task.prepare.seed, advance)
    except NoHardNeighboursError as error:
        raise UserError(
            f"--balance {task.method}: in {task.where} no row of class {task.classes[error.number]} has a neighbour of "
            "another class, so it has nowhere to draw from; use --balance smote"
        ) from error
    return Pairs(kept[pairs.parents], pairs.weights, pairs.classes)


def read_rows(signal: zarr.Array[Any], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return some rows of the stored signals, each as one vector of counts, reading a task's rows at a time.

    Parameters
    ----------
    signal : zarr.Array, shape (n_rows, n_leads, n_samples)
        The signals.
    rows : ndarray of int64, shape (n,)
        The rows, ascending.
    """
    vectors = np.empty((len(rows), signal.shape[1] * signal.shape[2]), np.float32)
    n_block = (signal.shards or signal.chunks)[0]
    for block in np.unique(rows // n_block).tolist():
        here = slice(*np.searchsorted(rows, [block * n_block, (block + 1) * n_block]))
        stored = np.asarray(signal[block * n_block : (block + 1) * n_block])
        vectors[here] = stored[rows[here] - block * n_block].reshape(here.stop - here.start, -1)
    return vectors


def draw_balances(tasks: Iterable[BalanceTask], store: Store, progress: Progress) -> Iterator[Balance]:
    """Yield the balances of some tasks, telling how far the search for neighbours is."""
    tasks = list(tasks)
    total = sum(_n_queries(task) for task in tasks)
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress("finding neighbours", done, total)

    for task in tasks:
        yield draw_balance(task, store, advance)


def _n_queries(task: BalanceTask) -> int:
    """Return how many rows' neighbours a task looks for."""
    passes = {"smote": 1, "adasyn": 2}.get(task.method, 0)
    return passes * sum(task.before[task.classes[number]] for number in task.n_new())
