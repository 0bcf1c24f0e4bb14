"""Protocols of video differencing: in which of two videos does a statement hold more?"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tal.datasets.protocol import Protocol
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DifferencingProtocol(Protocol):
    """Statements of differences, given (closed) or found by the model (open).

    Args:
        subset: One split; by default all, each by itself and their mean.
        mode: closed gives the statements and asks for a or b; open asks for statements, of which `matches` tells which
            annotated difference each stands for.
        matches: File of a judge's matches, for the open mode: {SAMPLE: {KEY: predicted key or null}}, or
            {KEY: {"pred_key", "is_opposite"}}, or the released code's eval_matching.json.
        excess: Statements beyond the number that a sample allows are cut off, or kept.
        matched_twice: A predicted statement counts for the first difference it is matched to, or for every one.
    """

    evaluator: ClassVar[str] = "tal.evaluation.differencing:run"
    annotation_files: ClassVar[str] = "VidDiffBench's rows as JSON or JSON lines: sample_key, split, differences_gt."
    prediction_files: ClassVar[str] = (
        'A list in their order, or {sample_key: ...}, of {KEY: "a"} or {KEY: {description, prediction}}.'
    )
    options: ClassVar[tuple[str, ...]] = ("subset", "mode", "matches", "excess", "matched_twice")

    subset: str | None = None
    mode: Literal["closed", "open"] = "closed"
    matches: Path | None = None
    excess: Literal["cut", "keep"] = "cut"
    matched_twice: Literal["first", "every"] = "first"

    def __post_init__(self) -> None:
        if self.mode not in ("closed", "open"):
            raise ConfigError(f"mode {self.mode!r}", expected="closed or open")
        if self.excess not in ("cut", "keep"):
            raise ConfigError(f"excess {self.excess!r}", expected="cut or keep")
        if self.matched_twice not in ("first", "every"):
            raise ConfigError(f"matched_twice {self.matched_twice!r}", expected="first or every")
        if self.mode == "closed" and self.matches is not None:
            raise ConfigError("matches are for the open mode", todo="say --mode open, or leave --matches out")
