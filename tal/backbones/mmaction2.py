"""Recognizers of mmaction2's zoo: TSN, TSM, TANet, I3D, SlowFast, CSN, X3D, Swin, MViT, UniFormer, VideoMAE and others.

`mmaction2:CONFIG` is any recognizer's config of the installed wheel, e.g.
`mmaction2:recognition/slowfast/slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb`; its folders may be left out. Clip length
and rate, size, mean and deviation are those of the config's test pipeline and data preprocessor:

    networks                             frames         per s              stride   pixels of
    TSN and others that see one frame    1              -                  0.5 s    224 256
    TSM, TIN, TRN, TANet                 8 or 16        0.8 or 1.6         1        224 or 256 of 256
    C2D, I3D, SlowOnly, SlowFast, CSN,   4 to 40        30 / interval      a        256 of 256, C3D 112 of 128,
    R(2+1)D, Swin, MViT, VideoMAE, ...                                     quarter  transformers 224 of 224
    UniFormerV2                          8 to 32        0.8 to 3.2         1        224 or 336

The feature, of 768 to 4096 channels, is what goes into the classifier, averaged over frames where the classifier sees
frames; tokens are the places of the backbone's last map. Of the wheel's 125 configs 13 cannot be used: TIN's three need
compiled operations that mmcv-lite leaves out, five have their network in mmpretrain or mmcls, two look at optical flow,
three of UniFormerV2 have no test pipeline.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tal.backbones.base import Backbone, BackboneSpec
from tal.backbones.frames import frame_clip
from tal.backbones.mmaction2_configs import (
    Clip,
    find_config,
    load_library,
    mean_and_std,
    published_url,
    read_clip,
    zoo,
)
from tal.backbones.weights import FILE, RANDOM, downloading, fit, hash_of, quiet, random_model, read_state, seeded
from tal.errors import TalError
from tal.video.base import Resize

_CLASSIFIERS = ("fc_cls", "fc2", "fc3d")


class MMAction2Backbone(Backbone):
    """A recognizer without its classifier."""

    token_layer = "backbone"

    def __init__(self, network: nn.Module, spec: BackboneSpec) -> None:
        super().__init__()
        self.network: Any = network
        self.spec = spec

    def forward(self, clips: Tensor) -> Tensor:
        """(B, clip_frames, 3, H, W) normalised -> (B, C) float32."""
        return _features(self.network, clips).float()

    def places(self, value: Any, clips: int) -> Tensor:
        """See `Backbone.places`; of SlowFast's two pathways the slow one."""
        while isinstance(value, tuple | list):
            value = value[0]
        return super().places(value, clips)


def _features(network: Any, clips: Tensor) -> Tensor:
    """What the recognizer's head gives without its classifier, (B, C)."""
    if type(network).__name__ == "Recognizer2D":
        given, _ = network.extract_feat(clips, stage="head")
    elif type(network).__name__ == "RecognizerOmni":
        given = network.extract_feat(clips.transpose(1, 2), stage="head")
    else:
        given, _ = network.extract_feat(clips.transpose(1, 2)[:, None], stage="head")
    return given.flatten(1)


class _Mean(nn.Module):
    """(B, frames, C) -> (B, C)."""

    def forward(self, frames: Tensor) -> Tensor:
        return frames.mean(dim=1)


def build(
    model: str, *, weights: Path | str | None, stride_s: float | None, resize_mode: Literal["fast", "reference"]
) -> MMAction2Backbone:
    """Build the recognizer of a config; see `load_backbone`.

    Args:
        model: The config's name below the zoo's folder, or its last part.
        weights: None for those that the zoo's index names, a checkpoint of mmaction2, or "random".
        stride_s: Of the snippets; None for a quarter of a clip, 0.5 s for networks that see one frame.
        resize_mode: See `tal.video.base.Resize`.

    Raises:
        TalError: no such config, one for other input than colour video, or weights that cannot be loaded.
    """
    load_library()
    from mmengine.config import Config

    name, path = find_config(model, zoo())
    config = Config.fromfile(str(path))
    mean, std = mean_and_std(config, name)
    clip = read_clip(config, name)
    network, source = _network(config, name, path, weights)
    spec = BackboneSpec(
        name=f"mmaction2:{name}",
        weights=source,
        weights_hash=hash_of(network),
        **_timing(clip, stride_s),
        resize=Resize(
            short_side=clip.short_side,
            exact=clip.exact,
            crop=clip.crop,
            interpolation="bilinear",
            mode=resize_mode,
            antialias=False,
        ),
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        width=_width(network, clip, name),
    )
    return MMAction2Backbone(network, spec)


def _timing(clip: Clip, stride_s: float | None) -> dict[str, Any]:
    if clip.frames == 1:
        return frame_clip(stride_s)
    stride = clip.stride_frames / clip.fps if stride_s is None else stride_s
    return {"clip_frames": clip.frames, "fps": clip.fps, "stride_s": stride}


def _network(config: Any, name: str, path: Path, weights: Path | str | None) -> tuple[nn.Module, str]:
    """The recognizer without classifier, and where its weights are from."""
    shown = f"mmaction2:{name}"
    url = published_url(name, path)
    if weights is None and url is None:
        raise TalError(f"{shown} has no published weights", todo="give --weights FILE")
    if weights == RANDOM:
        return random_model(lambda: _recognizer(config, shown), shown), RANDOM
    network = seeded(lambda: _recognizer(config, shown))
    file = Path(weights) if weights is not None else _fetched(str(url), shown)
    state = {key: value for key, value in read_state(file).items() if key in network.state_dict() or not _ours(key)}
    fit(network, state, file)
    return network, FILE if weights is not None else "published"


def _ours(key: str) -> bool:
    """Whether a weight is of the classifier, which is taken off."""
    return key.startswith(tuple(f"cls_head.{name}." for name in (*_CLASSIFIERS, "consensus", "fc2d", "new_cls")))


def _fetched(url: str, name: str) -> Path:
    """The file behind an address, kept where torch keeps such files."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with downloading(name):
            torch.hub.download_url_to_file(url, str(path), progress=False)
    return path


def _recognizer(config: Any, name: str) -> nn.Module:
    """Build without fetching anything, and take the classifier off.

    Raises:
        TalError: a network of a library that is not installed, or one that does not work here.
    """
    from mmaction.registry import MODELS
    from mmengine.registry import DefaultScope

    try:
        with quiet(), DefaultScope.overwrite_default_scope("mmaction"):
            network = MODELS.build(_without_pretrained(config.model.to_dict()))
    except (ImportError, KeyError, ValueError, TypeError, AttributeError, AssertionError, RuntimeError) as error:
        reason = (str(error).strip("'\" ") or type(error).__name__).splitlines()[0].partition(". Please check")[0]
        elsewhere = "install" in reason or "registry" in reason
        raise TalError(
            f"{name} cannot be built: {reason}",
            cause="its network is in a library that is not installed, such as mmpretrain" if elsewhere else "",
        ) from error
    head = network.cls_head
    taken = next((each for each in _CLASSIFIERS if hasattr(head, each)), None)
    if taken is None:
        raise TalError(f"{name} has a head {type(head).__name__}", expected=f"one with {', '.join(_CLASSIFIERS)}")
    if taken == "fc3d":
        head.fc3d[-1], head.fc2d = nn.Identity(), nn.Identity()
    else:
        setattr(head, taken, nn.Identity())
    if type(head).__name__ == "TRNHead":  # Its classifier is the relation of frames itself.
        head.consensus = _Mean()
    return network.eval()


def _without_pretrained(values: Any) -> Any:
    """A config that fetches no other weights first."""
    if isinstance(values, Mapping):
        return {key: None if key == "pretrained" else _without_pretrained(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(_without_pretrained(value) for value in values)
    return values


def _width(network: nn.Module, clip: Clip, name: str) -> int:
    """Length of a vector, measured on one blank clip.

    Raises:
        TalError: the network does not run.
    """
    blank = torch.zeros(1, clip.frames, 3, *clip.crop)
    try:
        with torch.inference_mode():
            features = _features(network, blank)
    except ImportError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TalError(
            f"mmaction2:{name} does not run: {reason}",
            cause="it needs compiled operations of mmcv, which mmcv-lite leaves out",
            todo="choose another config",
        ) from error
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TalError(f"mmaction2:{name} does not run on {tuple(blank.shape)}: {reason}") from error
    return features.shape[1]
