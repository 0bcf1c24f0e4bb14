"""Tables of scores and costs for the VideoGLUE score.

Scores: CSV with `model`, `adaptation`, `dataset`, `score`, or with `model`, `adaptation` and a column per dataset; JSON
{MODEL: {ADAPTATION: {DATASET: score}}}. Costs: CSV with `adaptation`, `parameters_m` (millions that are trained) and
`gflops` (of inference), or JSON {ADAPTATION: {"parameters_m", "gflops"}}. An empty cell is no score.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tal.annotations import files
from tal.annotations.rows import number, parse_rows
from tal.errors import AnnotationError

AVERAGE = "Avg"
"""The dataset name of a printed average."""

_DATASETS = {
    "K400": ("k400", "kinetics400"),
    "MiT": ("mit", "momentsintime"),
    "SSv2": ("ssv2", "somethingsomethingv2", "sthv2"),
    "D48": ("d48", "diving48"),
    "Charades": ("charades", "char"),
    "ANet": ("anet", "activitynet"),
    "AVA": ("ava", "avav22"),
    "AVA-K": ("avak", "avakinetics"),
    AVERAGE: ("avg", "average", "mean"),
}
_KNOWN = {alias: name for name, aliases in _DATASETS.items() for alias in aliases}
_COSTS = {"parameters_m": ("parameters_m", "params_m", "parameters"), "gflops": ("gflops", "flops_g", "flops")}

Scores = dict[str, dict[str, dict[str, float]]]


def parse_scores(content: bytes, path: Path | str) -> Scores:
    """Model -> adaptation (as written) -> dataset, by its one name -> score.

    Raises:
        AnnotationError: not readable, an unknown dataset, a score that is no number, or two of one kind.
    """
    found: Scores = {}
    if files.looks_like_json(content):
        data = files.to_unique_json(content, path)
        _check_nested(data, path)
        entries = [
            (str(model), str(adaptation), str(dataset), score, f"{path}: {model}, {adaptation}, {dataset}")
            for model, adaptations in data.items()
            for adaptation, scores in adaptations.items()
            for dataset, score in (scores if isinstance(scores, dict) else {AVERAGE: scores}).items()
        ]
    else:
        entries = []
        for row in parse_rows(content, path, ids=("model",)):
            cells = {name.lower(): value for name, value in row.cells.items()}
            if "adaptation" not in cells:
                raise AnnotationError(f"{path}: no column adaptation", expected="model, adaptation, dataset, score")
            if "dataset" in cells:
                scores = {cells["dataset"]: cells.get("score")}
            else:
                scores = {name: value for name, value in cells.items() if name not in ("model", "adaptation")}
            entries += [(cells["model"], cells["adaptation"], name, score, row.where) for name, score in scores.items()]
    for model, adaptation, dataset, score, where in entries:
        if score in (None, "", "-"):
            continue
        name = _dataset(dataset, where)
        own = found.setdefault(model, {}).setdefault(adaptation, {})
        if name in own:
            raise AnnotationError(f"{where}: a second score of {name}", expected="one")
        own[name] = number(score, where)
    if not found:
        raise AnnotationError(f"{path} holds no scores", expected="model, adaptation, dataset, score")
    return found


def parse_costs(content: bytes, path: Path | str) -> dict[str, dict[str, float]]:
    """Adaptation -> {"parameters_m", "gflops"}.

    Raises:
        AnnotationError: not readable, a cost that is missing or no number, or an adaptation that stands twice.
    """
    found: dict[str, dict[str, float]] = {}
    for row in parse_rows(content, path, ids=("adaptation",)):
        if row.id in found:
            raise AnnotationError(f"{row.where}: {row.id!r} stands twice", expected="every adaptation once")
        cells = {name.lower(): value for name, value in row.cells.items()}
        values: dict[str, Any] = {
            name: next((cells[alias] for alias in aliases if alias in cells), None) for name, aliases in _COSTS.items()
        }
        lacking = [name for name, value in values.items() if value is None]
        if lacking:
            raise AnnotationError(
                f"{row.where} has no {' and no '.join(lacking)}",
                expected="parameters_m (millions) and gflops of every adaptation",
                cause="the two files were exchanged: costs stand for annotations, scores for predictions",
            )
        found[row.id] = {name: number(value, f"{row.where}: {name}") for name, value in values.items()}
    return found


def _check_nested(data: Any, path: Path | str) -> None:
    nested = isinstance(data, Mapping) and all(isinstance(each, Mapping) for each in data.values())
    if not nested or not data:
        raise AnnotationError(f"{path}: no scores of models", expected="{MODEL: {ADAPTATION: {DATASET: score}}}")


def _dataset(name: str, where: str) -> str:
    plain = "".join(each for each in name.lower() if each.isalnum())
    if plain not in _KNOWN:
        raise AnnotationError(f"{where}: an unknown dataset {name!r}", expected=f"one of {', '.join(_DATASETS)}")
    return _KNOWN[plain]
