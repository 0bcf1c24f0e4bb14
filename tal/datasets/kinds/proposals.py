"""Protocols of temporal proposals: average recall against the average number of proposals per video."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from tal.datasets.kinds.detection import DUPLICATE_RULES
from tal.datasets.protocol import ANNOTATED_SEGMENTS, DETECTED_SEGMENTS, Protocol, check_thresholds
from tal.errors import ConfigError

NUMBER_RULES = {
    "average": "ActivityNet toolkit (videos with ground truth; 1, 2, ... proposals per video on average)",
    "shares": "THUMOS14 proposal papers (videos with proposals; the first 1/200, 2/200, ... of each video's)",
}
MOST_PROPOSALS = 100_000
"""Per video: memory grows with the limit."""


@dataclass(frozen=True, kw_only=True)
class ProposalsProtocol(Protocol):
    """A benchmark of temporal proposals.

    Args:
        subset: The split to evaluate, in any case; the protocol's own by default.
        tiou: Thresholds, as 0.5 0.75 or 0.5,0.75; recall is averaged over them.
        numbers: N of AR@N.
        limit: Largest average number of proposals per video; AUC is the area up to it.
        rule: How many proposals of each video are looked at: on average as the ActivityNet toolkit counts, or shares
            of each video's own number as the THUMOS14 proposal papers do.
        duplicates: keep duplicated ground truth, or remove it as ActionFormer's evaluator or opentad does.
        inclusive_frames: Segments are whole frames, both ends inside: one frame longer. Needs each video's fps.
        blocked: File with ids of videos that are left out: a JSON list or one id per line.
    """

    evaluator: ClassVar[str] = "tal.evaluation.proposals:run"
    annotation_files: ClassVar[str] = ANNOTATED_SEGMENTS
    prediction_files: ClassVar[str] = f"{DETECTED_SEGMENTS}; classes do not matter."
    options: ClassVar[tuple[str, ...]] = (
        "subset",
        "tiou",
        "numbers",
        "limit",
        "rule",
        "duplicates",
        "inclusive_frames",
        "blocked",
    )

    subset: str | None
    tiou: tuple[float, ...]
    numbers: tuple[int, ...] = (1, 5, 10, 100)
    limit: int = 100
    rule: Literal["average", "shares"] = "average"
    duplicates: Literal["keep", "remove", "opentad"] = "keep"
    inclusive_frames: bool = False
    blocked: Path | None = None

    def __post_init__(self) -> None:
        check_thresholds("tIoU", self.tiou)
        if self.rule not in NUMBER_RULES:
            raise ConfigError(f"rule {self.rule!r}", expected=" or ".join(NUMBER_RULES))
        if self.duplicates not in DUPLICATE_RULES:
            raise ConfigError(f"duplicate rule {self.duplicates!r}", expected=" or ".join(DUPLICATE_RULES))
        if not 2 <= self.limit <= MOST_PROPOSALS:
            raise ConfigError(f"limit {self.limit}", expected=f"from 2 to {MOST_PROPOSALS} proposals per video")
        if any(number < 1 for number in self.numbers):
            raise ConfigError(f"numbers of proposals {self.numbers}", expected="whole numbers from 1 on")
        beyond = [number for number in self.numbers if number > self.limit]
        if beyond and self.rule == "average":
            raise ConfigError(
                f"AR@{beyond[0]} with a limit of {self.limit} proposals per video",
                expected=f"numbers up to {self.limit}",
                todo=f"set limit to {max(beyond)}; AUC is then the area up to it",
            )

    def described(self) -> dict[str, Any]:
        """The rules that are applied, with the tool that each follows."""
        return super().described() | {
            "rule": f"{self.rule}: {NUMBER_RULES[self.rule]}",
            "duplicates": f"{self.duplicates}: {DUPLICATE_RULES[self.duplicates]}",
            "equal_scores": "in the file's order",
        }
