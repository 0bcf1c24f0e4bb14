"""`tal list`: what is here."""

import json as json_format
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tal.pipelines.packaged import dataset_cards, recipe_about, recipe_names

Kind = Literal["models", "backbones", "protocols", "datasets", "recipes", "commands"]


def list_(kind: Kind | None = None, *, json: str | None = None) -> None:
    """List what is here: models (methods), backbones, protocols, datasets, recipes, commands.

    Args:
        kind: One kind; everything if left out. Models alone come with task, paper, sources, weights and status.
        json: Also write it as JSON to this file; - writes it to standard output instead of the table.
    """
    from tal.registry import BACKBONES, COMMANDS, METHODS, PROTOCOLS

    tables = {"models": METHODS, "backbones": BACKBONES, "protocols": PROTOCOLS, "commands": COMMANDS}
    rows = {name: [(key, entry.about) for key, entry in table.items()] for name, table in tables.items()}
    rows["datasets"] = [(name, f"{title}: {about}") for name, (title, about) in dataset_cards().items()]
    rows["recipes"] = [(name, recipe_about(name)) for name in recipe_names()]
    chosen = [kind] if kind else ["models", "backbones", "protocols", "datasets", "recipes"]
    if json is not None:
        _write(json, {name: _facts(name, rows[name]) for name in chosen})
    if json == "-":
        return
    if kind == "models":
        _print_models(rows["models"])
        return
    for name in chosen:
        if not kind:
            print(f"{name}:")
        width = max((len(key) for key, _ in rows[name]), default=0)
        for key, about in rows[name]:
            print(f"{'' if kind else '  '}{key:<{width}}  {about}")


def _facts(kind: str, rows: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Name -> what is known of it; of models, their cards too."""
    from tal.methods.cards import CARDS

    further = {name: asdict(card) for name, card in CARDS.items()} if kind == "models" else {}
    return {name: {"about": about, **further.get(name, {})} for name, about in rows}


def _print_models(rows: Sequence[tuple[str, str]]) -> None:
    """A line that says what it is, and below it the facts."""
    from tal.methods.cards import CARDS

    width = max(len(name) for name, _ in rows)
    for name, about in rows:
        print(f"{name:<{width}}  {about}")
        if name not in CARDS:
            continue
        card = CARDS[name]
        facts = {
            "task": card.task,
            "status": card.status + (f": {card.note}" if card.note else ""),
            "paper": card.paper,
            "sources": ", ".join(card.sources) or "none",
            "weights": card.weights,
        }
        for key, value in facts.items():
            print(f"{'':<{width}}    {key:<8} {value}")


def _write(target: str, found: Mapping[str, Any]) -> None:
    text = json_format.dumps({"schema": "tal.list/1", **found}, indent=1, ensure_ascii=False) + "\n"
    if target == "-":
        print(text, end="")
        return
    from tal.atomic import write_text

    write_text(Path(target), text)
