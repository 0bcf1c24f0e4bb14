"""The tables of tools/compare.py, as markdown."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from compare_methods import METHODS, SETS, NotApplicable

Results = Sequence[Mapping[str, Any]]


def table(results: Results, *, methods: Sequence[str], sets: Sequence[str], seeds: Sequence[int]) -> str:
    """All of it: the methods over all sets, then each set."""
    found: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for result in results:
        found[result["method"], result["set"]][result["seed"]] = result
    lines = [*_overall(found, methods, sets)] if len(sets) > 1 else []
    for name in sets:
        lines += ["", f"### {SETS[name].about}", "", *_of_set(found, methods, name, seeds)]
    return "\n".join(lines).strip()


def _overall(found: Mapping[tuple[str, str], Any], methods: Sequence[str], sets: Sequence[str]) -> Iterator[str]:
    """Per method its mAP on every set, and the mean over the sets, of the seeds that are done on all of them."""
    yield f"| method | {' | '.join(sets)} | mean of the sets |"
    yield "|---" * (len(sets) + 2) + "|"
    for method in methods:
        columns = [_score(_maps(found, method, name)) or _why_not(method, name) for name in sets]
        common = set.intersection(*(set(found[method, name]) for name in sets))
        over = [mean(found[method, name][seed]["metrics"]["mAP"] for name in sets) for seed in sorted(common)]
        yield f"| `{method}` | {' | '.join(columns)} | {_score(over) or '-'} |"


def _of_set(
    found: Mapping[tuple[str, str], Any], methods: Sequence[str], name: str, seeds: Sequence[int]
) -> Iterator[str]:
    yield (
        "| method | mAP, mean (deviation) | per seed | parameters | training, s | inference, s per hour of video | "
        "memory, MiB |"
    )
    yield "|---" * 7 + "|"
    for method in methods:
        cells = found[method, name]
        if not cells:
            yield f"| `{method}` | {_why_not(method, name)} | | | | | |"
            continue
        done = [cells[seed] for seed in seeds if seed in cells]
        columns = (
            _score(_maps(found, method, name)),
            ", ".join(f"{each['metrics']['mAP']:.3f}" for each in done),
            f"{mean(each['parameters'] for each in done):,.0f}",
            f"{mean(each['train_s'] for each in done):.0f}",
            f"{mean(each['infer_s'] / each['video_s'] * 3600 for each in done):.1f}",
            f"{max(each['peak_mib'] for each in done):.0f} ({max(_grown(each) for each in done):.0f})",
        )
        yield f"| `{method}` | {' | '.join(columns)} |"


def _grown(cell: Mapping[str, Any]) -> float:
    """MiB over what the process took with everything loaded."""
    return float(cell["peak_mib"] - cell["loaded_mib"])


def _maps(found: Mapping[tuple[str, str], Any], method: str, name: str) -> list[float]:
    return [cell["metrics"]["mAP"] for cell in found[method, name].values()]


def _score(values: Sequence[float]) -> str:
    """Mean and deviation, with the number of seeds."""
    if not values:
        return ""
    spread = f" ({stdev(values):.3f})" if len(values) > 1 else ""
    return f"{mean(values):.3f}{spread}, {len(values)} {'seed' if len(values) == 1 else 'seeds'}"


def _why_not(method: str, name: str) -> str:
    changes = METHODS[method].on(name)
    return f"not applicable: {changes.why}" if isinstance(changes, NotApplicable) else "not run"
