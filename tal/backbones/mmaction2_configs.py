"""Configs of mmaction2's zoo: found by name, and read for what a network wants to see."""

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from tal.backbones.extras import load_extra
from tal.backbones.weights import quiet
from tal.errors import TalError

_FPS = 30.0  # Of the videos that the configs' frame intervals were made for.
_VIDEO_S, _SHORT_VIDEO_S = 10.0, 4.0  # How long a video of Kinetics is, and one of Something-Something.

# What mmaction2's package imports but its wheel does not hold, and what it cannot import beside today's transformers;
# neither is about recognition. Empty modules stand in for them.
_STAND_INS = {
    "mmaction.models.localizers.drn": (),
    "mmaction.models.localizers.drn.drn": ("DRN",),
    "mmaction.models.multimodal": (),
}


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What a config's test pipeline samples, for one view.

    Args:
        frames: That the network sees at once.
        fps: Their rate.
        stride_frames: Of the snippets, unless told otherwise.
        short_side, exact: See `tal.video.base.Resize`.
        crop: (height, width).
    """

    frames: int
    fps: float
    stride_frames: int
    short_side: int | None
    exact: tuple[int, int] | None
    crop: tuple[int, int]


def load_library() -> ModuleType:
    """mmaction with its recognizers registered.

    Raises:
        TalError: it is not installed, or not in versions that fit each other.
    """
    for name in ("mmengine", "mmcv", "importlib_metadata"):
        load_extra(name, "mmaction2")
    added = [name for name in _STAND_INS if name not in sys.modules]
    for name in added:
        sys.modules[name] = _stand_in(name)
    try:
        with quiet(), warnings.catch_warnings(action="ignore"):
            library = load_extra("mmaction", "mmaction2")
            load_extra("mmaction.models", "mmaction2")
    except AssertionError as error:  # Its own check of mmcv's version.
        raise TalError(
            f"mmaction2 refuses what is installed beside it: {error}", todo="pip install 'tal[mmaction2]'"
        ) from error
    finally:
        for name in added:
            sys.modules.pop(name, None)
    return library


def _stand_in(name: str) -> ModuleType:
    made = ModuleType(name)
    made.__path__ = []
    for attribute in _STAND_INS[name]:
        setattr(made, attribute, type(attribute, (), {}))
    return made


def zoo() -> Path:
    """The folder of the configs in the installed wheel.

    Raises:
        TalError: mmaction2 is not installed.
    """
    found = find_spec("mmaction")
    if found is None or found.origin is None:
        load_extra("mmaction", "mmaction2")
        raise TalError("mmaction2 has no folder", todo="pip install 'tal[mmaction2]'")
    return Path(found.origin).parent / ".mim" / "configs"


def config_names(folder: Path) -> dict[str, Path]:
    """Name, e.g. recognition/tsn/tsn_...-rgb -> file, of every recognizer's config."""
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.glob("recognition/**/*.py"))
    }


def find_config(model: str, folder: Path) -> tuple[str, Path]:
    """A config by its name; the folders and .py may be left out.

    Raises:
        TalError: no such config; the message names the closest.
    """
    known, wanted = config_names(folder), model.removesuffix(".py")
    full = [name for name in known if wanted in (name, name.rpartition("/")[2])]
    if len(full) == 1:
        return full[0], known[full[0]]
    stems = {name.rpartition("/")[2]: name for name in known}
    close = [stems[stem] for stem in get_close_matches(wanted.rpartition("/")[2], stems, n=3, cutoff=0.5)]
    raise TalError(
        f"unknown config of mmaction2 {model!r}",
        expected=f"a name below {folder}, such as recognition/tsn/..., one of {len(known)}",
        todo=f"did you mean {' or '.join(close)}?" if close else "",
    )


def read_clip(config: Mapping[str, Any], name: str) -> Clip:
    """What a config's test pipeline samples: one clip, its middle crop.

    Frame intervals are in frames of videos at 30 per second. Frames that are spread over a whole video are spread over
    the 10 s that Kinetics' videos last, 4 s for Something-Something. Networks that look at frames one by one get one.

    Raises:
        TalError: a pipeline without sampling, size or crop.
    """
    steps = config.get("test_pipeline") or config.get("val_pipeline") or ()
    sampling = next((step for step in steps if step["type"].endswith(("SampleFrames", "UniformSample"))), None)
    resize = next((step for step in steps if step["type"] == "Resize"), None)
    crop = next((step for step in steps if step["type"] in ("CenterCrop", "ThreeCrop", "TenCrop")), None)
    if sampling is None or resize is None or crop is None:
        raise TalError(f"{name} does not say what its network sees", expected="a test pipeline in the config")
    size = crop["crop_size"]
    scale = tuple(resize["scale"])
    frames, fps, stride_frames = _sampled(config["model"], sampling, _SHORT_VIDEO_S if "sthv" in name else _VIDEO_S)
    return Clip(
        frames=frames,
        fps=fps,
        stride_frames=stride_frames,
        short_side=max(scale) if -1 in scale else None,
        exact=None if -1 in scale else (int(scale[1]), int(scale[0])),
        crop=(int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1])),
    )


def _sampled(model: Mapping[str, Any], sampling: Mapping[str, Any], video_s: float) -> tuple[int, float, int]:
    """Frames, their rate, and the stride in frames; (1, 0, 0) for a network that looks at frames one by one."""
    length = int(sampling["clip_len"])
    if model["type"] != "Recognizer2D":
        if sampling["type"] == "UniformSample":
            return length, length / video_s, 1
        fps = _FPS / int(sampling["frame_interval"])
        return length, fps, max(1, length // 4)
    head, backbone = model["cls_head"], model["backbone"]
    if head["type"] == "TSNHead" and "num_segments" not in backbone:
        return 1, 0.0, 0
    segments = int(backbone.get("num_segments") or head.get("num_segments") or sampling["num_clips"])
    if sampling["type"] == "DenseSampleFrames":
        return segments, segments * _FPS / int(sampling.get("sample_range", 64)), 1
    return segments, segments / video_s, 1


def published_url(name: str, path: Path) -> str | None:
    """Where the weights of a config are published: as the zoo's own index beside it says."""
    import yaml

    index = path.parent / "metafile.yml"
    told = yaml.safe_load(index.read_text(encoding="utf-8")) if index.is_file() else {}
    for entry in told.get("Models", ()):
        if str(entry.get("Config", "")).endswith(f"{name}.py") and entry.get("Weights"):
            return str(entry["Weights"])
    return None


def mean_and_std(config: Mapping[str, Any], name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per RGB channel, for values in [0, 1].

    Raises:
        TalError: no colour: optical flow or the like.
    """
    told = config["model"].get("data_preprocessor") or {}
    mean, std = tuple(told.get("mean", ())), tuple(told.get("std", ()))
    if len(mean) != 3 or len(std) != 3:
        raise TalError(f"{name} looks at {len(mean)} channels", expected="colour", cause="a config for optical flow")
    order: Literal[1, -1] = -1 if told.get("to_rgb") else 1
    return tuple(value / 255 for value in mean[::order]), tuple(value / 255 for value in std[::order])
