"""VideoGLUE: foundation models under end-to-end, frozen, MLAP and LoRA adaptation."""

from tal.datasets.kinds.videoglue import VideoGlueProtocol

PROTOCOL = VideoGlueProtocol(
    name="videoglue",
    title="VideoGLUE score of foundation models",
    source="VideoGLUE (TMLR), its definition of the score; its code is not public",
)
