"""The tables of tools/compare.py, as markdown."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from compare_methods import METHODS, SETS, NotApplicable
from compare_metrics import PROPOSALS

Results = Sequence[Mapping[str, Any]]
Found = dict[tuple[str, str], dict[int, Mapping[str, Any]]]


def table(results: Results, *, methods: Sequence[str], sets: Sequence[str], seeds: Sequence[int]) -> str:
    """All of it: the methods over all sets, by class and as proposals, then each set."""
    found: Found = defaultdict(dict)
    for result in results:
        found[result["method"], result["set"]][result["seed"]] = result
    lines = []
    if len(sets) > 1:
        lines = [*_overall(found, methods, sets, "mAP"), "", *_overall(found, methods, sets, "AUC")]
    for name in sets:
        lines += ["", f"### {SETS[name].about}", "", *_of_set(found, methods, name, seeds)]
    return "\n".join(lines).strip()


def _overall(found: Found, methods: Sequence[str], sets: Sequence[str], metric: str) -> Iterator[str]:
    """Per method a metric on every set, and its mean over the sets, of the seeds that have it on all of them."""
    yield f"| {metric} | {' | '.join(sets)} | mean of the sets |"
    yield "|---" * (len(sets) + 2) + "|"
    for method in methods:
        values = [_values(found[method, name], metric) for name in sets]
        if not any(values) and any(found[method, name] for name in sets):
            continue
        columns = [_mean(of_set) or _why_not(method, name) for of_set, name in zip(values, sets, strict=True)]
        common = set.intersection(*map(set, values))
        over = {seed: mean(of_set[seed] for of_set in values) for seed in common}
        yield f"| `{method}` | {' | '.join(columns)} | {_mean(over) or '-'} |"


def _of_set(found: Found, methods: Sequence[str], name: str, seeds: Sequence[int]) -> Iterator[str]:
    yield (
        "| method | mAP, mean (deviation) | per seed | AR@10, AR@100, AUC | parameters | training, s | "
        "inference, s per hour of video | memory, MiB |"
    )
    yield "|---" * 8 + "|"
    for method in methods:
        cells = found[method, name]
        if not cells:
            yield f"| `{method}` | {_why_not(method, name)} | | | | | | |"
            continue
        done = [cells[seed] for seed in seeds if seed in cells]
        by_class = _values(cells, "mAP")
        proposals = [list(_values(cells, metric).values()) for metric in PROPOSALS]
        columns = (
            _mean(by_class) or "no classes",
            ", ".join(f"{by_class[seed]:.3f}" for seed in seeds if seed in by_class),
            ", ".join(f"{mean(values):.3f}" for values in proposals if values),
            f"{mean(each['parameters'] for each in done):,.0f}",
            f"{mean(each['train_s'] for each in done):.0f}",
            f"{mean(each['infer_s'] / each['video_s'] * 3600 for each in done):.1f}",
            f"{max(each['peak_mib'] for each in done):.0f} ({max(_grown(each) for each in done):.0f})",
        )
        yield f"| `{method}` | {' | '.join(columns)} |"


def _grown(cell: Mapping[str, Any]) -> float:
    """MiB over what the process took with everything loaded."""
    return float(cell["peak_mib"] - cell["loaded_mib"])


def _values(cells: Mapping[int, Mapping[str, Any]], metric: str) -> dict[int, float]:
    """A metric by seed, of the cells that have it: methods without classes have no mAP."""
    return {seed: cell["metrics"][metric] for seed, cell in cells.items() if metric in cell["metrics"]}


def _mean(values: Mapping[int, float]) -> str:
    """Mean and deviation over the seeds, with their number."""
    if not values:
        return ""
    spread = f" ({stdev(values.values()):.3f})" if len(values) > 1 else ""
    return f"{mean(values.values()):.3f}{spread}, {len(values)} {'seed' if len(values) == 1 else 'seeds'}"


def _why_not(method: str, name: str) -> str:
    changes = METHODS[method].on(name)
    return f"not applicable: {changes.why}" if isinstance(changes, NotApplicable) else "not run"
