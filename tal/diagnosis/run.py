"""One diagnosis: a protocol, annotations and predictions to everything that `tal diagnose` tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations.records import Annotations
from tal.datasets.protocol import Protocol
from tal.diagnosis import bootstrap, characteristics, errors, oracles, sensitivity
from tal.diagnosis.area import Floats, mean_over_classes
from tal.diagnosis.bootstrap import Interval
from tal.diagnosis.cases import MISSED, Case, Shown, case_videos, worst_cases
from tal.diagnosis.characteristics import Scheme
from tal.diagnosis.comparison import compare_sides
from tal.diagnosis.errors import NAMES, Judged, Kind
from tal.diagnosis.result import Bucket, Characteristic, ClassRow, Comparison, Diagnosis, FalsePositives
from tal.diagnosis.side import Predictions, Side, diagnosable, named_means, ranked, units_of
from tal.errors import ConfigError
from tal.evaluation import threshold_name
from tal.evaluation.inputs import Inputs

Bools = NDArray[np.bool_]

_CASE_TIOU = 0.5


def diagnose(
    protocol: Protocol | str,
    annotations: Annotations | Path | str,
    predictions: Predictions,
    *,
    against: Predictions | None = None,
    resamples: int = 1000,
    seed: int = 0,
    buckets: Scheme = "auto",
    **options: Any,
) -> Diagnosis:
    """Tell where the mAP of temporal detections is lost, and how sure it is.

    Ground truth and predictions are those that `tal.evaluate` scores with the same protocol and options.

    Args:
        protocol: A name in `tal list protocols`, or a protocol, of temporal detection.
        annotations: A file in any format that is read, or records.
        predictions: A file, or segments per video.
        against: Other predictions to compare these with.
        resamples: Of the bootstrap over videos, and exchanges of the permutation test; 0 leaves them out.
        seed: Of both.
        buckets: "auto", "thumos14", "activitynet" or "quantiles"; see `tal.diagnosis.characteristics`.
        options: The protocol's own, as for `tal.evaluate`.

    Raises:
        TalError: a protocol that cannot be diagnosed, or what `tal.evaluate` raises.
    """
    chosen = diagnosable(protocol).with_options(**options)
    if resamples < 0:
        raise ConfigError(f"{resamples} resamples", expected="0 or more; 1000 is usual")
    inputs = Inputs()
    records = inputs.annotations(annotations)
    side = Side.of(chosen, records, predictions, inputs)
    other = None if against is None else Side.of(chosen, records, against, inputs)
    return _Diagnosing(side, other, resamples, seed).diagnosis(buckets)


@dataclass(frozen=True, eq=False)
class _Diagnosing:
    """One diagnosis under way."""

    side: Side
    other: Side | None
    resamples: int
    seed: int

    def diagnosis(self, scheme: Scheme) -> Diagnosis:
        judged, evaluation = self.side.judged, self.side.evaluation
        sorted_in, notes = self._buckets(scheme)
        not_found = sensitivity.not_found(judged)
        what_if = {name: oracle(judged) - judged.average_precision for name, oracle in oracles.ORACLES.items()}
        removal = errors.removal_gains(judged)
        resampled = self._resampled() if self.resamples else None
        shown, cases = self._cases()
        return Diagnosis(
            evaluation=evaluation,
            tiou=tuple(judged.tious.tolist()),
            case_tiou=float(judged.tious[shown.row]),
            false_positives=FalsePositives(
                counts=_counts(judged),
                gain={NAMES[kind]: self._by_threshold(values) for kind, values in removal.items()},
                normalised_gain={NAMES[kind]: v for kind, v in errors.normalised_removal_gains(judged).items()},
            ),
            what_if={name: self._by_threshold(values) for name, values in what_if.items()},
            normalised_mAP=sensitivity.normalised_mean(sensitivity.normalised_precision(judged)),
            normal=judged.normal,
            not_found=float(not_found.mean()),
            characteristics=tuple(_characteristic(judged, each, not_found) for each in sorted_in),
            per_class=self._per_class(removal, what_if["no_misses"], not_found, resampled),
            intervals={} if resampled is None else self._intervals(resampled),
            resamples=self.resamples,
            seed=self.seed,
            comparison=self._comparison(),
            cases=tuple(case for case, _ in cases),
            videos=tuple(case_videos(shown, cases)),
            notes=tuple(notes),
        )

    def _buckets(self, scheme: Scheme) -> tuple[list[characteristics.Buckets], list[str]]:
        durations = [record.duration_s for record in self.side.records.values()]
        values = characteristics.measure(self.side.judged.truth, durations)
        notes = []
        unknown = sum(duration is None for duration in durations)
        if unknown == len(durations):
            notes.append("coverage is left out: the annotations give no durations of videos")
        elif unknown:
            notes.append(f"coverage leaves out {unknown} of {len(durations)} videos, whose durations are not known")
        found = characteristics.sort_into_buckets(values, protocol=self.side.evaluation.protocol, scheme=scheme)
        published = self.side.evaluation.protocol in characteristics.PUBLISHED
        notes += [
            f"{each.name}: buckets are quantiles, since nearly all instances fall into one of DETAD's"
            for each in found
            if published and scheme == "auto" and each.scheme == "quantiles"
        ]
        return found, notes

    def _by_threshold(self, values: Floats) -> dict[str, float]:
        """(M, K) to the mean over classes, of all thresholds and of each."""
        means = mean_over_classes(values)
        return {"mAP": float(means.mean()), **dict(zip(self.side.thresholds, means.tolist(), strict=True))}

    def _resampled(self) -> Floats:
        """(W, M, K) AP of each resample."""
        units = units_of([self.side])
        weights = bootstrap.draws(len(units), self.resamples, seed=self.seed)
        return bootstrap.weighted_precision(ranked(self.side, units), weights)

    def _intervals(self, resampled: Floats) -> dict[str, Interval]:
        return {
            name: Interval.of(self.side.evaluation.metrics[name], values)
            for name, values in named_means(self.side, resampled).items()
        }

    def _comparison(self) -> Comparison | None:
        if self.other is None:
            return None
        if not self.resamples:
            raise ConfigError("a comparison without resamples", expected="--resamples 1 or more; 1000 is usual")
        return compare_sides(self.side, self.other, resamples=self.resamples, seed=self.seed)

    def _per_class(
        self, removal: Mapping[Kind, Floats], misses: Floats, not_found: Bools, drawn: Floats | None
    ) -> dict[str, ClassRow]:
        judged = self.side.judged
        gains = {NAMES[kind]: values.mean(axis=0) for kind, values in removal.items()} | {MISSED: misses.mean(axis=0)}
        names = [threshold_name(value) for value in judged.tious.tolist()]
        recall = oracles.perfect_ranking(judged).mean(axis=0)
        normalised = sensitivity.normalised_precision(judged).mean(axis=0)
        predictions = np.bincount(judged.predictions.label, minlength=judged.class_count)
        rows = {}
        for label in np.flatnonzero(judged.instances).tolist():
            at = judged.average_precision[:, label]
            worst = max(gains, key=lambda name: float(gains[name][label]))
            gain = float(gains[worst][label])
            rows[self.side.classes[label]] = ClassRow(
                instances=int(judged.instances[label]),
                predictions=int(predictions[label]),
                AP=float(at.mean()),
                at=dict(zip(names, at.tolist(), strict=True)),
                AP_N=float(normalised[label]),
                recall=float(recall[label]),
                not_found=float(not_found[:, judged.truth.label == label].mean()),
                main_loss=worst if gain > 0 else "",
                gain=max(gain, 0.0),
                interval=None if drawn is None else Interval.of(float(at.mean()), drawn[:, :, label].mean(axis=1)),
            )
        return rows

    def _cases(self) -> tuple[Shown, list[tuple[Case, int]]]:
        judged, records = self.side.judged, self.side.records
        outside = len(self.side.names) - len(records)
        shown = Shown(
            judged=judged,
            row=int(np.abs(judged.tious - _CASE_TIOU).argmin()),
            videos=self.side.names,
            durations_s=[*(record.duration_s for record in records.values()), *([None] * outside)],
            classes=self.side.classes,
        )
        return shown, worst_cases(shown)


def _counts(judged: Judged) -> dict[str, tuple[dict[str, int], ...]]:
    return {
        threshold_name(threshold): tuple(dict(zip(NAMES.values(), budget, strict=True)) for budget in budgets)
        for threshold, budgets in zip(judged.tious.tolist(), errors.profile(judged).tolist(), strict=True)
    }


def _characteristic(judged: Judged, buckets: characteristics.Buckets, not_found: Bools) -> Characteristic:
    edges = buckets.edges
    rows = []
    for position, name in enumerate(buckets.names):
        inside = buckets.of == position
        rows.append(
            Bucket(
                name=name,
                low=edges[position],
                high=edges[position + 1],
                instances=int(inside.sum()),
                mAP_N=sensitivity.normalised_mean(sensitivity.normalised_precision_within(judged, inside))
                if inside.any()
                else float("nan"),
                not_found=float(not_found[:, inside].mean()) if inside.any() else float("nan"),
            )
        )
    return Characteristic(
        name=buckets.name,
        about=characteristics.ABOUT[buckets.name],
        scheme=buckets.scheme,
        buckets=tuple(rows),
        outside=int((buckets.of < 0).sum()),
    )
