"""Joins a protocol, annotations and predictions to metrics, and counts everything that is left out on the way."""

from dataclasses import replace
from typing import Any

from tal.datasets.protocol import Protocol
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, threshold_name
from tal.registry import PROTOCOLS, Entry

__all__ = ["Evaluation", "evaluate", "threshold_name"]


def evaluate(protocol: Protocol | str, annotations: Any, predictions: Any, **options: Any) -> Evaluation:
    """Score predictions by a benchmark's protocol.

    Ground truth is taken as published, faults included, but for what the protocol itself excludes.

    Args:
        protocol: A name in `tal list protocols`, or a protocol.
        annotations: A file in any format that is read for the task, or records.
        predictions: A file, or predictions in memory: for temporal detection, segments per video.
        options: The protocol's own, see `tal evaluate PROTOCOL --help`: `subset`, `tiou`, `duplicates`, `variant`, ...

    Raises:
        TalError: files that cannot be read, an unknown option or subset, predictions with NaN, nothing to evaluate.
    """
    declared: Protocol = PROTOCOLS.load(protocol) if isinstance(protocol, str) else protocol
    chosen = declared.with_options(**options)
    run = Entry(chosen.evaluator, "").load()
    inputs = Inputs()
    result: Evaluation = run(chosen, annotations, predictions, inputs)
    notes = tuple(f"{path}: its last line has no end; was the file cut off?" for path in inputs.unfinished)
    return replace(result, warnings=(*result.warnings, *notes))
