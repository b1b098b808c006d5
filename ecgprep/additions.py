"""What is added to a complete store without building it again: balances, and metadata that describes all it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ecgprep import croissant
from ecgprep.balance import BalanceTask, draw_balances
from ecgprep.progress import Progress
from store.balance import Balance
from store.places import Place
from store.plan import StorePlan, Values
from store.read import Store, open_store
from store.schema import ArraySpec, values_spec
from store.write import Building, publish_addition


def add_balances(
    place: Place, plan: StorePlan, tasks: Sequence[BalanceTask], replace: bool, progress: Progress
) -> tuple[Balance, ...]:
    """Draw the balances that a complete store lacks and add them, all those of one name at a time.

    Parameters
    ----------
    place : Place
        The store.
    plan : StorePlan
        The plan of its rows.
    tasks : sequence of BalanceTask
        The balances that it shall have.
    replace : bool
        Remove another addition that is unfinished at a URL.
    progress : callable
        Told how far the search for neighbours is.

    Returns
    -------
    tuple of Balance
        Those that were added.
    """
    added: list[Balance] = []
    for name in dict.fromkeys(task.name for task in tasks):
        store = open_store(place.location)
        new = [task for task in tasks if task.name == name and name not in store.balances(task.protocol, task.fold)]
        if new:
            drawn = list(draw_balances(new, store, progress))
            _publish(place, plan, store, drawn, replace)
            added += drawn
    return tuple(added)


def _publish(place: Place, plan: StorePlan, store: Store, balances: Sequence[Balance], replace: bool) -> None:
    values = {path: item for balance in balances for path, item in balance.stored().items()}
    files = {"croissant.json": describe_with(store, plan, values)}
    aside = place.beside(f".adding-{plan.name}").location
    building = Building(aside, StorePlan(plan.name, (), values, plan.attributes, files))
    building.prepare(replace)
    publish_addition(building, place.location)


def describe_with(store: Store, plan: StorePlan, values: Mapping[str, Values]) -> str:
    """Return the text of ``croissant.json`` for a store with what is added to it.

    Parameters
    ----------
    store : Store
        The store as it is.
    plan : StorePlan
        The plan of its rows, and of pictures that it has or gets.
    values : mapping
        Parts of balances that it gets, by path.
    """
    planned = {spec.path: spec for spec in plan.specs}
    had = [*(f"rep/{name}" for name in store.representations), *_balance_paths(store)]
    stored = {path: _stored_spec(store, path) for path in had}
    new = {path: values_spec(path, item.values, item.attributes, item.dimensions) for path, item in values.items()}
    return croissant.describe(plan.name, plan.attributes, list({**stored, **planned, **new}.values()))


def _balance_paths(store: Store) -> list[str]:
    return [f"{balance}/{part}" for balance in store.balance_facts for part in ("parent", "weight", "class", "keep")]


def _stored_spec(store: Store, path: str) -> ArraySpec:
    array: Any = store.group[path]
    return ArraySpec(
        path=path,
        shape=array.shape,
        dtype=str(array.dtype),
        fill=array.fill_value,
        chunks=array.chunks,
        shards=array.shards,
        dimensions=tuple(array.metadata.dimension_names),
        attributes=array.attrs.asdict(),
    )
