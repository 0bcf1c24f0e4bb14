"""What the parts of a diagnosis are called, for people: in tables and on the page."""

import math

from tal.diagnosis.characteristics import COVERAGE, INSTANCES, LENGTH
from tal.diagnosis.result import Bucket

ERROR_NAMES = {
    "true_positive": "true positive",
    "double_detection": "double detection",
    "wrong_label": "wrong label",
    "localization": "localization",
    "confusion": "confusion",
    "background": "background",
    "missed": "missed",
}
ERROR_MEANINGS = {
    "true_positive": "takes an instance",
    "double_detection": "of an instance that a higher score has taken",
    "wrong_label": "the right place, another class",
    "localization": "the right class, tIoU from 0.1 to the threshold",
    "confusion": "another class, tIoU from 0.1 to the threshold",
    "background": "overlaps no instance by 0.1",
    "missed": "an instance that nothing comes near",
}
ORACLE_NAMES = {
    "perfect_boundaries": "perfect boundaries",
    "perfect_labels": "perfect labels",
    "perfect_ranking": "perfect ranking",
    "no_duplicates": "no duplicates",
    "no_background": "no background",
    "no_misses": "no misses",
}
ORACLE_MEANINGS = {
    "perfect_boundaries": "localization errors get the boundaries of their instance",
    "perfect_labels": "wrong labels become those of their instance",
    "perfect_ranking": "within a class, all that is right stands before all that is wrong",
    "no_duplicates": "double detections are left out",
    "no_background": "predictions that overlap nothing are left out",
    "no_misses": "instances that nothing comes near need not be found",
}
BUCKETS_OF = {
    "thumos14": "DETAD's buckets for THUMOS14",
    "activitynet": "DETAD's buckets for ActivityNet",
    "quantiles": "quantiles of this set",
}


UNITS = {LENGTH: "s", COVERAGE: "", INSTANCES: ""}


def bucket_range(characteristic: str, bucket: Bucket, *, first: bool) -> str:
    """What a bucket holds: "up to 3", "3 to 6", "over 18", in `UNITS`; of numbers of instances "1", "2 to 40"."""
    if characteristic == INSTANCES:
        low = int(bucket.low) + (0 if first and bucket.low > 0 else 1)
        if math.isinf(bucket.high):
            return f"{low} or more"
        return f"{low}" if low >= bucket.high else f"{low} to {int(bucket.high)}"
    low_text, high_text = (_plain(edge) for edge in (bucket.low, bucket.high))
    if math.isinf(bucket.high):
        return f"over {low_text}"
    return f"up to {high_text}" if first else f"{low_text} to {high_text}"


def short_range(limits: str) -> str:
    """What `bucket_range` says, for the narrow place under a bar: "≤ 3", "3–6", "> 18", "81 +"."""
    for long, short in (("up to ", "≤ "), ("over ", "> "), (" or more", " +"), (" to ", "–")):
        limits = limits.replace(long, short)
    return limits


def _plain(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def seconds(value: float) -> str:
    """A time: 12.3 s, or 1:02:03.4 from a minute on."""
    if not math.isfinite(value):
        return "?"
    if round(abs(value), 1) < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(abs(value), 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    sign = "-" if value < 0 else ""
    return f"{sign}{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{sign}{minutes}:{rest:04.1f}"


def p_value(value: float) -> str:
    """Three digits, or one significant one below a thousandth."""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"
