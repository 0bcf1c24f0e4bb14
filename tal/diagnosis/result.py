"""What a diagnosis found, as plain values for tables, json and pages. All shares and gains are fractions."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tal.diagnosis.bootstrap import Interval
from tal.diagnosis.cases import Case, CaseVideo
from tal.evaluation import Evaluation, threshold_name

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class FalsePositives:
    """Predictions by what they are.

    Args:
        counts: Threshold -> per budget b (ranks (b - 1) G to b G of each class) {kind: number of predictions}.
        gain: Kind -> {"mAP": .., "mAP@0.50": ..} gained if its false positives were removed.
        normalised_gain: Kind -> mAP_N gained among the first 10 G predictions, the figure of DETAD.
    """

    counts: Mapping[str, tuple[Mapping[str, int], ...]]
    gain: Mapping[str, Mapping[str, float]]
    normalised_gain: Mapping[str, float]

    def shares(self, threshold: str | None = None) -> list[dict[str, float]]:
        """Per budget {kind: share of its predictions}, at one threshold or all; NaN where there are none."""
        chosen = list(self.counts.values()) if threshold is None else [self.counts[threshold]]
        shares = []
        for budget in zip(*chosen, strict=True):
            total = sum(sum(each.values()) for each in budget)
            found = {kind: sum(each[kind] for each in budget) for kind in budget[0]}
            shares.append({kind: count / total if total else float("nan") for kind, count in found.items()})
        return shares


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Instances that are alike in one respect.

    Args:
        name: XS, S, M, L, XL.
        low, high: The values in it lie above `low`, up to `high`; those of the first bucket may equal `low`.
        instances: How many.
        mAP_N: Normalised mAP of these alone; NaN without instances.
        not_found: Share that nothing finds, mean over thresholds; NaN without instances.
    """

    name: str
    low: float
    high: float
    instances: int
    mAP_N: float  # noqa: N815
    not_found: float


@dataclass(frozen=True, kw_only=True)
class Characteristic:
    """Sensitivity to one characteristic.

    Args:
        name: "length", "coverage" or "instances".
        about: Its unit, in words.
        scheme: Whose buckets: "thumos14" or "activitynet" (DETAD), or "quantiles".
        buckets: From the lowest values to the highest.
        outside: Instances in none of them, because the value is not known or lies outside.
    """

    name: str
    about: str
    scheme: str
    buckets: tuple[Bucket, ...]
    outside: int


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class.

    Args:
        instances, predictions: How many of each.
        AP: Mean over thresholds.
        at: Threshold -> AP.
        AP_N: Normalised AP, mean over thresholds.
        recall: Share of the instances that some prediction takes, mean over thresholds.
        not_found: Share that nothing finds, as in the buckets.
        main_loss: The kind of error whose absence would gain most AP; "" if none would.
        gain: That gain.
        interval: Of the AP, where asked for.
    """

    instances: int
    predictions: int
    AP: float
    at: Mapping[str, float]
    AP_N: float
    recall: float
    not_found: float
    main_loss: str
    gain: float
    interval: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A number in two sets of predictions; the interval is of second minus first, over videos, paired.

    Args:
        first, second: The two values.
        interval: Of the difference.
        p: Two-sided p value of the paired bootstrap.
    """

    first: float
    second: float
    interval: Interval
    p: float


@dataclass(frozen=True, kw_only=True)
class VideoChange:
    """A video's own mAP (over the classes that it holds, its predictions alone) in two sets."""

    video: str
    instances: int
    first: float
    second: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A second set of predictions against the first.

    Args:
        first, second: The files.
        metrics: "mAP", "mAP@0.50", ... -> difference.
        per_class: Class -> difference of its AP.
        p_permutation: Of the mAP; see `tal.diagnosis.compare.permutation_p`.
        gained, lost: The videos that changed most, the most first.
    """

    first: str
    second: str
    metrics: Mapping[str, Difference]
    per_class: Mapping[str, Difference]
    p_permutation: float
    gained: tuple[VideoChange, ...]
    lost: tuple[VideoChange, ...]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Everything that `tal diagnose` found.

    Args:
        evaluation: What `tal evaluate` gives for the same files.
        tiou: Thresholds.
        case_tiou: The threshold at which the cases are judged.
        false_positives: By kind and budget.
        what_if: Oracle -> {"mAP": .., "mAP@0.50": ..} gained; see `tal.diagnosis.oracles`.
        normalised_mAP: AP_N of everything, mean over classes and thresholds.
        normal: Instances per class on average: the N of AP_N.
        not_found: Share of the instances that nothing finds, as in the buckets.
        characteristics: Sensitivity.
        per_class: Class -> row.
        intervals: "mAP", "mAP@0.50", ... -> interval over videos; empty if no resamples were asked for.
        resamples, seed: Of the bootstrap.
        comparison: Against another file.
        cases: The worst errors.
        videos: Those that hold them.
        notes: What a reader should know.
    """

    evaluation: Evaluation
    tiou: tuple[float, ...]
    case_tiou: float
    false_positives: FalsePositives
    what_if: Mapping[str, Mapping[str, float]]
    normalised_mAP: float  # noqa: N815
    normal: float
    not_found: float
    characteristics: tuple[Characteristic, ...]
    per_class: Mapping[str, ClassRow]
    intervals: Mapping[str, Interval]
    resamples: int
    seed: int
    comparison: Comparison | None
    cases: tuple[Case, ...]
    videos: tuple[CaseVideo, ...]
    notes: tuple[str, ...] = ()

    @property
    def thresholds(self) -> list[str]:
        """The thresholds as they stand in names."""
        return [threshold_name(value) for value in self.tiou]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for json; the videos of the cases are for the page alone."""
        values = asdict(self) | {
            "evaluation": self.evaluation.as_dict(),
            "cases": [asdict(case) for case in self.cases],
        }
        del values["videos"]
        return {"schema": SCHEMA} | values
