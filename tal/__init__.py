"""Understanding actions in video: decode, extract features, localize, evaluate, and show the result.

>>> import tal
>>> model = tal.load_model("runs/af/model")
>>> detections = tal.localize("my.mp4", model)  # Segments: start_s, end_s, score, label

Everything is imported when it is first used, so that `import tal` is quick and needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tal import version

if TYPE_CHECKING:
    from tal.annotations import read_annotations
    from tal.diagnosis.run import diagnose
    from tal.errors import TalError
    from tal.evaluation import evaluate
    from tal.features.store import FeatureStore
    from tal.localization import localize
    from tal.package import load_model
    from tal.segments import Segments
    from tal.timeline import SnippetGrid
    from tal.video import open_video, probe

__version__ = version.VERSION

_HOME = {
    "FeatureStore": "tal.features.store",
    "Segments": "tal.segments",
    "SnippetGrid": "tal.timeline",
    "TalError": "tal.errors",
    "diagnose": "tal.diagnosis.run",
    "evaluate": "tal.evaluation",
    "load_model": "tal.package",
    "localize": "tal.localization",
    "open_video": "tal.video",
    "probe": "tal.video",
    "read_annotations": "tal.annotations",
}

__all__ = [
    "FeatureStore",
    "Segments",
    "SnippetGrid",
    "TalError",
    "__version__",
    "diagnose",
    "evaluate",
    "load_model",
    "localize",
    "open_video",
    "probe",
    "read_annotations",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tal' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
