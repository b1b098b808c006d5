"""Tables that a person can use: what a build made, what it dropped, and what is in a store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from store.plan import StorePlan
from store.read import Store

if TYPE_CHECKING:
    from ecgprep.balance import BalanceTask
    from ecgprep.build import BuildResult
    from ecgprep.datasets.base import Database
    from ecgprep.estimate import Estimate
    from ecgprep.index import Quarantined

SHOWN_RECORDS = 10
SHOWN_CLASSES = 8  # more do not fit on a terminal of 80 columns


def print_databases(databases: Iterable[Database], raw: Path) -> None:
    """Print what each database is, and how many of its headers lie in the workspace's folder."""
    table = Table(
        Column("name", no_wrap=True),
        "records",
        "Hz",
        "download",
        Column("licence", overflow="fold"),
        "here",
        title="Databases",
    )
    for database in databases:
        table.add_row(
            f"{database.name}\n[dim]{database.default_unit}[/dim]",
            f"{database.published_records:,}" if database.published_records else "any",
            " ".join(f"{rate:g}" for rate in database.rates_hz) or "any",
            database.download_size,
            database.licence,
            f"{sum(1 for _ in (raw / database.folder).rglob('*.hea')):,}",
        )
    table.caption = "Under the name: what a row is unless --unit says otherwise. Here: headers in the workspace."
    Console().print(table)


def print_plan(plan: StorePlan, made: Estimate, balances: Sequence[BalanceTask] = ()) -> None:
    """Print what a build would make, how large and in what time, and what balances make of its training rows."""
    console = Console()
    console.print(f"[bold]{plan.name}[/bold]: {plan.n_rows:,} rows, {len(plan.tasks())} tasks")
    shapes = {spec.path: (_shape(spec.shape), spec.dtype) for spec in plan.filled}
    arrays = Table("array", "shape", "type", "MB")
    for path, n_bytes in made.n_bytes.items():
        arrays.add_row(path, *shapes.get(path, ("", "")), f"{n_bytes / 1e6:,.1f}")
    arrays.add_row("together", "", "", f"{sum(made.n_bytes.values()) / 1e6:,.1f}")
    console.print(arrays)
    time = f"about {_duration(made.seconds)} to build, measured on the first pass and a sample of the rows"
    console.print(time, highlight=False)
    _print_audit(console, plan.attributes["audit"])
    facts = {task.path: {"classes": task.classes, "before": task.before, "after": task.wanted} for task in balances}
    _print_balances(console, facts)


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def print_result(result: BuildResult) -> None:
    """Print a build's summary: on standard error what was kept and dropped, on standard output the store's path."""
    console = Console(stderr=True)
    card = result.plan.attributes["card"]
    for about in card["databases"]:
        here = about["records_used"] + about["records_quarantined"]
        console.print(
            f"{about['title']} {about['version']}".rstrip()
            + f": {here:,} of {about['records_published']:,} records are here, "
            f"{about['records_used']:,} used, {about['patients']:,} patients, {about['rows']:,} rows"
        )
        if "note" in about:
            console.print(about["note"], highlight=False, markup=False, style="yellow")
    _print_quarantine(console, result.quarantined)
    _print_audit(console, result.plan.attributes["audit"])
    _print_balances(console, {balance.path: balance.facts for balance in result.balances})
    said = {
        "built": "built",
        "resumed": "went on with a stopped build; complete",
        "added": "added to the complete store",
        "complete": "already complete; nothing to do",
    }
    named = f" --store {result.place}" if isinstance(result.place, str) else ""
    line = f"{said[result.state]}, digest {result.digest[:16]}. {_what_next(result.plan, named)}"
    console.print(line, highlight=False, soft_wrap=True)
    Console(soft_wrap=True).print(str(result.place), highlight=False)


def _what_next(plan: StorePlan, named: str) -> str:
    """Return the command that trains on a store, or what its rows lack for that."""
    protocol = plan.attributes["default_protocol"]
    if not protocol:
        return "No split could be drawn: too few patients have a label."
    lines = [line for line in plan.attributes["audit"] if "classes" in line]
    lacking = {line["rule"]: lack for line in lines if (lack := _lack(plan, line))}
    if protocol not in lacking:
        return f"Next: ecgtrain run{named}"
    why, remedy = lacking[protocol]
    trainable = [line["rule"] for line in lines if line["rule"] not in lacking]
    if trainable:
        leaks = ", which leaks" if plan.values[f"split/{trainable[0]}"].attributes["leaks"] else ""
        return f"Next: ecgtrain run{named} --protocol {trainable[0]}{leaks}; {protocol} has {why}"
    return f"No run can learn these labels, since {protocol} has {why}: {remedy}"


def _lack(plan: StorePlan, line: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what keeps a protocol's labels from being learned, and what to do instead; None if nothing does."""
    empty = [part for part, counts in line["classes"].items() if not any(counts.values())]
    if empty:
        return f"no {' and no '.join(empty)} rows with a known label", "build from more records or databases"
    scheme = plan.values[f"split/{line['rule']}"].attributes["scheme"]
    learned = [name for name, n in line["classes"]["train"].items() if n]
    if len(learned) > 1 or plan.values[f"label/{scheme}"].attributes["multilabel"]:
        return None
    remedy = "build with other labels, or learn without by ecgtrain run --model cpc/resnet18v2_1d"
    return f"training rows of one class alone, {learned[0]}", remedy


def print_store(store: Store) -> None:
    """Print what is in a store."""
    console = Console()
    attributes, card = store.attributes, store.attributes["card"]
    mark = " [bold red]SYNTHETIC[/bold red]" if store.synthetic else ""
    console.print(f"[bold]{store.name}[/bold]{mark}: {store.n_rows:,} rows, one a {attributes['unit']}")
    for about in card["databases"]:
        console.print(
            f"{about['title']} {about['version']}, {about['licence']}: {about['records_used']:,} of "
            f"{about['records_published']:,} records, {about['patients']:,} patients, {about['rows']:,} rows"
        )
    console.print(
        f"signals {', '.join(store.leads)} at {store.fs_hz:g} Hz; digest {store.digest[:16]}", highlight=False
    )
    console.print(_array_table(store))
    _print_meanings(console, store)
    _print_audit(console, attributes["audit"])
    quarantine = Path(store.location) / "quarantine.jsonl"
    if quarantine.is_file():
        from ecgprep.index import Quarantined

        _print_quarantine(console, [Quarantined(**json.loads(line)) for line in quarantine.read_text().splitlines()])


def _array_table(store: Store) -> Table:
    table = Table("array", "shape", "type", "chunk", "MB")
    names = ["signal", *(f"rep/{name}" for name in store.representations)]
    for name in names + [f"label/{name}" for name in store.schemes]:
        array: Any = store.group[name]
        size = _size_mb(store, name)
        table.add_row(name, _shape(array.shape), str(array.dtype), _shape(array.chunks), size)
    return table


def _print_meanings(console: Console, store: Store) -> None:
    """Print what each array holds: parameters of pictures, classes of labels, names of columns and splits."""
    for name in store.representations:
        parameters: Any = store.group[f"rep/{name}"].attrs["parameters"]
        values = ", ".join(f"{key}={value}" for key, value in parameters.items() if value is not None)
        console.print(f"rep/{name}: {values}", highlight=False, markup=False)
    for scheme in store.schemes:
        label = store.label(scheme)
        several = ", several a row" if label.multilabel else ""
        console.print(f"label/{scheme}: {' '.join(label.classes)}{several}", highlight=False)
    console.print(f"column: {', '.join(store.columns)}", highlight=False)
    console.print(f"split: {', '.join(store.protocols)}", highlight=False)
    _print_balances(console, store.balance_facts)


def _print_balances(console: Console, balances: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the training rows of each class before balances, and how often each row counts after."""
    by_classes: dict[tuple[str, ...], list[str]] = {}
    for path, facts in balances.items():
        by_classes.setdefault(tuple(facts["classes"]), []).append(path)
    for classes, paths in by_classes.items():
        if len(classes) > SHOWN_CLASSES:
            shown = ", ".join(path.partition("/")[2] for path in paths)
            console.print(f"{shown}: {len(classes)} classes, counted in their facts", highlight=False, markup=False)
            continue
        names = (Column(name, overflow="fold") for name in ("balance", *classes))
        table = Table(*names, title="Training rows by class × replication")
        for path in paths:
            table.add_row(path.partition("/")[2], *(_replication(balances[path], name) for name in classes))
        console.print(table)


def _replication(facts: Mapping[str, Any], name: str) -> str:
    before, after = facts["before"][name], facts["after"][name]
    return f"{before:,} ×{after / before:.3g}" if before else "0"


def _size_mb(store: Store, name: str) -> str:
    files = [Path(store.location) / path for path in store.manifest.digests if path.startswith(f"{name}/")]
    return f"{sum(file.stat().st_size for file in files) / 1e6:,.1f}" if all(f.is_file() for f in files) else "–"


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(f"{n:,}" for n in shape)


def _print_audit(console: Console, audit: Sequence[Mapping[str, Any]]) -> None:
    rules = Table("rule", "kept", "dropped", title="Rows by rule")
    for line in audit:
        rules.add_row(line["rule"], f"{line['kept']:,}", f"{line['dropped']:,}")
    console.print(rules)
    by_classes: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for line in audit:
        if "classes" in line:
            by_classes.setdefault(tuple(line["classes"]["train"]), []).append(line)
    for names, lines in by_classes.items():
        _print_classes(console, names, lines)


def _print_classes(console: Console, names: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows of each class in each part of the protocols that share their classes."""
    if len(names) > SHOWN_CLASSES:
        rules = ", ".join(line["rule"] for line in lines)
        console.print(f"{rules}: {len(names)} classes, counted in the store's attribute audit", highlight=False)
        return
    table = Table(Column("protocol", no_wrap=True), "part", *names, title="Rows by class")
    for line in lines:
        for part, counts in line["classes"].items():
            table.add_row(line["rule"] if part == "train" else "", part, *(f"{counts[name]:,}" for name in names))
    console.print(table)


def _print_quarantine(console: Console, quarantined: Sequence[Quarantined]) -> None:
    if not quarantined:
        return
    console.print(f"{len(quarantined)} records left out (all of them in quarantine.jsonl):")
    for item in quarantined[:SHOWN_RECORDS]:
        console.print(f"  {item.record}: {item.reason}", highlight=False, markup=False)
