"""What an evaluation gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tal.datasets.protocol import Protocol
from tal.evaluation.inputs import Inputs
from tal.evaluation.tally import Tally
from tal.metrics.naming import threshold_name
from tal.version import RESULT_SCHEMA

__all__ = ["Evaluation", "evaluation", "threshold_name"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The outcome of a protocol.

    Args:
        protocol: Its name.
        title: The benchmark in words.
        options: The rules that were applied, by name, with the tool that each follows.
        inputs: File -> SHA-256 of its content; empty for what came from memory.
        counts: What was evaluated, and what was left out and why.
        metrics: Name -> value, fractions in [0, 1] where the metric is one: `mAP`, `mAP@0.50`, `Recall@1x@0.50`.
        per_class: Class -> the same for it: `AP`, `AP@0.50`, and `ground_truth`, its number of instances.
        missing: Ids of the videos that have no predictions.
        warnings: What a reader of the numbers should know.
    """

    protocol: str
    title: str
    options: Mapping[str, Any]
    inputs: Mapping[str, str]
    counts: Mapping[str, Any]
    metrics: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for json."""
        return {
            "schema": RESULT_SCHEMA,
            "protocol": self.protocol,
            "options": dict(self.options),
            "inputs": dict(self.inputs),
            "counts": dict(self.counts),
            "metrics": dict(self.metrics),
            "per_class": {name: dict(values) for name, values in self.per_class.items()},
            "missing": list(self.missing),
            "warnings": list(self.warnings),
        }


def evaluation(
    protocol: Protocol,
    inputs: Inputs,
    tally: Tally,
    *,
    counts: Mapping[str, Any],
    metrics: Mapping[str, float],
    per_class: Mapping[str, Mapping[str, float]] | None = None,
    **options: Any,
) -> Evaluation:
    """The outcome, with what the tally holds.

    Args:
        protocol: The rules.
        inputs: What was read.
        tally: What was left out.
        counts: Those that `tally.counts` gave.
        metrics, per_class: As of `Evaluation`.
        options: Further ones, beside the protocol's.
    """
    return Evaluation(
        protocol=protocol.name,
        title=protocol.title,
        options=protocol.described() | options,
        inputs=inputs.hashes,
        counts=counts,
        metrics=metrics,
        per_class=per_class or {},
        missing=tally.missing,
        warnings=tuple(tally.warnings),
    )
