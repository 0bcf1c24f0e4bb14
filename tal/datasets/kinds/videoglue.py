"""The protocol of VideoGLUE: one cost-aware number from the scores of a model on many benchmarks."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tal.datasets.protocol import Protocol
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class VideoGlueProtocol(Protocol):
    """Scores of models under several adaptations, weighted by cost.

    Args:
        averages: The average of an adaptation is the mean over groups of tasks, each the mean of its datasets, or the
            one that the scores give as Avg. The paper's printed averages differ from its rule in five places.
        percent: The scores are in percent, as papers print them.
    """

    evaluator: ClassVar[str] = "tal.evaluation.videoglue:run"
    annotation_files: ClassVar[str] = (
        "Costs: CSV of adaptation, parameters_m and gflops, or {ADAPTATION: {parameters_m, gflops}}."
    )
    prediction_files: ClassVar[str] = (
        "Scores: CSV of model, adaptation, dataset and score, or a column per dataset; or JSON nested like that."
    )
    options: ClassVar[tuple[str, ...]] = ("averages", "percent")

    averages: Literal["groups", "printed"] = "groups"
    percent: bool = False

    def __post_init__(self) -> None:
        if self.averages not in ("groups", "printed"):
            raise ConfigError(f"averages {self.averages!r}", expected="groups or printed")
