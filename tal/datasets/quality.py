"""Action quality: GAIA's three dimensions, MTL-AQA, FineDiving, and any other set of rated videos."""

from tal.datasets.kinds.quality import QualityProtocol

PROTOCOL = QualityProtocol(
    name="quality",
    title="Action quality, correlation with human ratings",
    source="GAIA (NeurIPS 2024) for the correlations; R-l2: yuxumin/CoRe, tools/runner.py",
)
