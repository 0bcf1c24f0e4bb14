"""Protocols of unusual activity localization: one interval per query, judged by overlap, time difference and onset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from tal.datasets.protocol import Protocol, check_thresholds
from tal.errors import ConfigError

MISSING_RULES = {
    "gt-end": "IoU 0, a time difference of the ground truth's end, no onset (released script)",
    "zero": "the interval from 0 to 0",
    "random": "a random interval before the ground truth's end (development tables; the draws are ours)",
}


@dataclass(frozen=True, kw_only=True)
class OnsetProtocol(Protocol):
    """A benchmark of unusual moments.

    Args:
        subset: The part of the benchmark; told by the form of the file.
        missing: What a query without answer counts as: gt-end, zero or random.
        seed: Of the random intervals.
        onsets: The Oops! data set's transition_times.json: onset-any too, against each of three annotators.
        tiou: Thresholds of R1.
        within_s: Time differences p of R1@TD<=p, seconds.
        tolerance_s: Tolerances of onset, seconds.
        sizes: Subset -> number of queries as published, to notice a partial file.
    """

    evaluator: ClassVar[str] = "tal.evaluation.onset:run"
    annotation_files: ClassVar[str] = (
        "One of UAL-Bench's JSON files, or its prediction files, which repeat the ground truth."
    )
    prediction_files: ClassVar[str] = "UAL-Bench JSON with pred_start and pred_end per query, as an object or a list."
    options: ClassVar[tuple[str, ...]] = ("subset", "missing", "seed", "onsets", "tiou", "within_s", "tolerance_s")

    subset: Literal["uag-oops", "uag-ssbd", "uag-funqa", "charades"] | None = None
    missing: Literal["gt-end", "zero", "random"] = "gt-end"
    seed: int = 0
    onsets: Path | None = None
    tiou: tuple[float, ...] = (0.3, 0.5, 0.7)
    within_s: tuple[float, ...] = (0.0, 1.0, 3.0, 5.0, 7.0)
    tolerance_s: tuple[float, ...] = (1.0, 0.25)
    sizes: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        check_thresholds("tIoU", self.tiou)
        if self.missing not in MISSING_RULES:
            raise ConfigError(f"rule for missing answers {self.missing!r}", expected=" or ".join(MISSING_RULES))
        if self.subset is not None and self.subset not in dict(self.sizes):
            raise ConfigError(f"subset {self.subset!r}", expected=" or ".join(dict(self.sizes)))
        for times_s in (self.within_s, self.tolerance_s):
            if not times_s or not all(0 <= time_s < float("inf") for time_s in times_s):
                raise ConfigError(
                    f"times within which an answer is right {times_s}", expected="at least one, from 0 on"
                )

    def described(self) -> dict[str, Any]:
        """The rules that are applied, with the tool that each follows."""
        return super().described() | {"missing": f"{self.missing}: {MISSING_RULES[self.missing]}"}
