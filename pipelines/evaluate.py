"""`tal evaluate`: score predictions by a benchmark's official protocol."""

import json as json_format
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tal.atomic import refuse_overwriting, write_text
from tal.evaluation import evaluate as evaluate_protocol
from tal.pipelines.evaluation_tables import show
from tal.pipelines.protocol_words import run_with_protocol


def evaluate(
    protocol: str,
    *,
    annotations: Path,
    predictions: Path,
    per_class: bool = False,
    json: str | None = None,
    **options: Any,
) -> int:
    """Score predictions by a benchmark's official protocol.

    Prints the metrics, the rules that were applied, and everything that was left out. `tal list protocols` names the
    protocols; `tal evaluate PROTOCOL --help` tells the options of one.

    Args:
        protocol: thumos14, activitynet, qvhighlights, ava, ...
        annotations: Ground truth, as published or your own.
        predictions: In the benchmark's own format; for temporal detection ActivityNet results JSON, as tal localize
            writes it, or CSV with video, start, end, label, score.
        per_class: Print the table of classes too.
        json: Also write everything as JSON to this file; - writes it to standard output instead of the table.
    """
    if json is not None and json != "-":
        further = [value for value in options.values() if isinstance(value, Path)]
        refuse_overwriting([json], [annotations, predictions, *further])
    result = evaluate_protocol(protocol, annotations, predictions, **options)
    text = as_json(result.as_dict())
    if json == "-":
        sys.stdout.write(text)
        return 0
    show(result, per_class=per_class)
    if json is not None:
        write_text(Path(json), text)
    return 0


def as_json(values: Mapping[str, Any]) -> str:
    """Plain values as JSON text; NaN and infinity, which JSON lacks, stand as null."""
    return json_format.dumps(_finite(values), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run_words(words: Sequence[str]) -> int:
    """The command, its options being those of the protocol that the words name."""
    return run_with_protocol(evaluate, "evaluate", words)


evaluate.run_words = run_words  # type: ignore[attr-defined]
