"""A video and a model package -> detections. Any length, from the file itself or from features that are there."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from torch import Tensor

from tal.audio.base import AudioBackbone
from tal.backbones import load_backbone
from tal.backbones.base import Backbone
from tal.device import choose_device
from tal.errors import FeatureError, TalError, VideoError
from tal.features import open_features
from tal.features.align import interpolated, on_one_grid
from tal.features.audio import audio_feature_spec, stream_audio
from tal.features.base import FeatureSource, FeatureSpec, VideoFeatures
from tal.features.extractor import feature_spec, stream_video
from tal.methods.inference import Opened, detect, detect_each
from tal.methods.video_scores import check_covered, read_video_scores
from tal.methods.windows import FeatureStream, Floats
from tal.package import Package, load_model
from tal.registry import BACKBONES
from tal.segments import Segments, check_threshold
from tal.timeline import check_one_grid, in_step
from tal.video import probe

_LOG = logging.getLogger(__name__)

Sources = Mapping[str, FeatureSource]
Progress = Callable[[float], None]


def _untold(done: float) -> None:
    """Progress that nobody watches."""


def localize(
    video: Path | str,
    package: Package | Path | str,
    *,
    features: Path | str | FeatureSource | Sources | None = None,
    threshold: float | None = None,
    device: str | None = None,
    video_scores: Path | str | Mapping[str, Tensor] | None = None,
    whole: bool = False,
) -> Segments:
    """What happens when in a video.

    Args:
        video: The file; with `features`, the video's id or its file (whose stem is the id).
        package: A loaded model package or its folder.
        features: A folder of features in place of the video: opened, or its path; per stream if the model has several.
        threshold: Keep detections that score at least this. None: the thresholds per class of the package, chosen on
            validation data. 0: all.
        device: Where to run, e.g. "cuda"; a loaded package stays there. None: where the package was loaded, a folder on
            the CPU.
        video_scores: Class scores of the whole video, from an external classifier: a json file, {video: {class:
            score}}, or video -> (K,) in the order of the package's classes. A class-agnostic model needs them to name
            what it finds.
        whole: Take the video whole whatever its length, as validation does; see `Localizer`.

    Returns:
        Detections by falling score, seconds of video time.

    Raises:
        VideoError: the video cannot be opened or decoded.
        FeatureError: features that are missing, damaged, or not those that the model was trained on; a video without
            video-level scores.
        PackageError: not a model package.
        ConfigError: a threshold outside [0, 1].
    """
    check_threshold(threshold)
    if not isinstance(package, Package):
        package = load_model(package, device or "cpu")
    elif device is not None:
        package.model.to(choose_device(device))
    if isinstance(video_scores, Path | str):
        video_scores = read_video_scores(Path(video_scores), package.classes)
    sources = None if features is None else open_sources(features, package)
    localizer = Localizer(package, sources=sources, video_scores=video_scores, whole=whole)
    if features is None:
        found = localizer.detect(Path(video).stem, Path(video))
    else:
        known = isinstance(video, str) and any(video in source.ids() for source in localizer.sources.values())
        path = Path(video) if not known and Path(video).is_file() else None
        found = localizer.detect(str(video) if known else Path(video).stem, path)
    return shown(found, package.thresholds, threshold)


def shown(detections: Segments, thresholds: Mapping[str, float], threshold: float | None = None) -> Segments:
    """The detections that are worth showing.

    Args:
        detections: All of them.
        thresholds: Class -> lowest score; 0 for classes that are not named. Detections without a class have to reach
            the lowest of them.
        threshold: One for all classes in their place.
    """
    of_class = {"": min(thresholds.values(), default=0.0), **thresholds}
    lowest = [of_class.get(name, 0.0) if threshold is None else threshold for name in detections.names]
    return detections[detections.score >= np.array(lowest, np.float64)]


def open_sources(features: Path | str | FeatureSource | Sources, package: Package) -> Sources:
    """Feature folders of a package's streams, by stream; a single folder is that of a single stream.

    Raises:
        FeatureError: no features there, or one folder for a model of several streams.
    """
    if isinstance(features, Mapping):
        return features
    streams = list(package.features)
    if len(streams) != 1:
        raise FeatureError(
            f"one folder of features for a model of {len(streams)} streams",
            expected=f"a folder for each of {', '.join(streams)}",
        )
    if isinstance(features, Path | str):
        features = open_stream(Path(features), streams[0], package)
    return {streams[0]: features}


def open_stream(folder: Path, stream: str, package: Package) -> FeatureSource:
    """The folder of one stream's features, read by the layout that the package remembers."""
    is_store = (folder / "spec.json").exists()
    return open_features(folder, layout=None if is_store else package.layouts.get(stream))


class Localizer:
    """A package made ready for many videos: its backbones are built, and its features checked, once.

    Args:
        package: The model.
        sources: Stream -> folder of features, read in place of the videos; None: features are made from the videos, of
            their pictures and of their sound. A stream that the model can do without may be missing: its folder, a
            video in its folder, the sound of a video, or the backbone that made it; what is left out so is logged.
        weights: Stream -> local file of its backbone's weights, for features that were made with one.
        video_scores: Video -> (K,) class scores from an external classifier, which name the detections.
        whole: Videos are taken whole whatever their length, with the method's limit on the number of detections for
            each, as validation does; False: long ones in parts, whose memory does not grow.

    Raises:
        FeatureError: features, or a backbone, other than those that the model was trained on; both specs are shown.
        TalError: a backbone that cannot be built here.
    """

    def __init__(
        self,
        package: Package,
        *,
        sources: Sources | None = None,
        weights: Mapping[str, Path] | None = None,
        video_scores: Mapping[str, Tensor] | None = None,
        whole: bool = False,
    ) -> None:
        self.package, self.sources, self._video_scores = package, dict(sources or {}), video_scores
        self._whole = whole
        self._device = str(next(package.model.parameters()).device)
        self._backbones: dict[str, Backbone | AudioBackbone] = {}
        self._having = {
            name: frozenset(self.sources[name].ids() if name in self.sources else ())
            for name in package.model.inputs.optional
        }
        if sources is None:
            self._build_backbones(weights or {})
            package.check_features({name: _spec_of(each) for name, each in self._backbones.items()})
        else:
            package.check_features({name: source.spec for name, source in sources.items()})
        if video_scores is None and getattr(package.model.config, "class_agnostic", False):
            _LOG.warning("detections have no class: the model is class-agnostic; give --video-scores FILE to name them")
        # Suppression's kernels are compiled or loaded here, and not amid the first video.
        label = np.full(1, 0 if package.classes else -1)
        package.model.suppress(Segments(start_s=np.zeros(1), end_s=np.ones(1), label=label, classes=package.classes))

    def _build_backbones(self, weights: Mapping[str, Path]) -> None:
        for name, spec in self.package.features.items():
            known = spec.backbone.partition(":")[0] in BACKBONES
            if not known and name in self.package.model.inputs.optional:
                _LOG.warning(
                    "localizing without the stream %r, which the model can do without: no backbone here makes %s; "
                    "give --features to localize with it",
                    name,
                    spec.backbone,
                )
            else:
                self._backbones[name] = _backbone_of(name, spec, self._device, weights.get(name))

    def check_scored(self, videos: Iterable[str]) -> None:
        """Refuse videos without video-level scores, if there are such scores at all.

        Raises:
            FeatureError: videos without; the first of them are named.
        """
        if self._video_scores is not None:
            check_covered(videos, self._video_scores)

    def detect(
        self,
        video: str,
        path: Path | None = None,
        *,
        duration_s: float | None = None,
        fps: float | None = None,
        progress: Progress = _untold,
    ) -> Segments:
        """All detections of one video, by falling score; nothing is left out for its low score.

        Args:
            video: The id.
            path: The file that features are made from, or that stored features are held against.
            duration_s, fps: Of the video, where folders of features do not know them.
            progress: Called with the part of the video that is decoded, up to 1.

        Raises:
            VideoError, FeatureError, GridError: of this video.
        """
        self._check_asked()
        self.check_scored([video])
        scores = None if self._video_scores is None else self._video_scores[video]
        stream = self.stream(video, path, duration_s=duration_s, fps=fps, progress=progress)
        return _lasting(detect(self.package.model, stream, video_scores=scores, whole=self._whole))

    def _check_asked(self) -> None:
        if self.package.text is not None:
            raise FeatureError(
                "nothing is asked of the video",
                expected="queries, for a model that answers them",
                todo="give --queries",
            )

    def stream(
        self,
        video: str,
        path: Path | None = None,
        *,
        duration_s: float | None = None,
        fps: float | None = None,
        progress: Progress = _untold,
    ) -> FeatureStream:
        """One video's features as they come, stored or made from its file; see `detect`."""
        if not self.sources:
            return self._extracted(video, path, progress)
        if duration_s is None and path is not None:
            duration_s = probe(path).duration_s  # so that features of another video, or on another grid, are refused
        return self._stored(video, duration_s, fps)

    def detect_many(
        self,
        videos: Mapping[str, Path | None],
        *,
        durations_s: Mapping[str, float | None] | None = None,
        fps: Mapping[str, float | None] | None = None,
        progress: Progress = _untold,
    ) -> Iterator[tuple[str, Segments | TalError]]:
        """Each video's detections, or what is wrong with it, in order; one bad video does not end the run.

        Windows of several videos go through the network together, where their features are stored.

        Args:
            videos: id -> file; None for features of a folder.
            durations_s, fps: See `detect`.
            progress: Called with the number of videos that are done, the decoded part of the present one included.
        """
        durations_s, fps = durations_s or {}, fps or {}
        if self.sources:
            opened = self._opened(videos, durations_s, fps)
            outcomes = detect_each(self.package.model, opened, video_scores=self._video_scores, whole=self._whole)
            for position, (video, found) in enumerate(outcomes):
                yield video, found if isinstance(found, TalError) else _lasting(found)
                progress(position + 1)
            return
        for position, (video, path) in enumerate(videos.items()):
            try:
                yield (
                    video,
                    self.detect(
                        video,
                        path,
                        duration_s=durations_s.get(video),
                        fps=fps.get(video),
                        progress=partial(_add, progress, position),
                    ),
                )
            except TalError as error:
                yield video, error
            progress(position + 1)

    def _opened(
        self,
        videos: Mapping[str, Path | None],
        durations_s: Mapping[str, float | None],
        fps: Mapping[str, float | None],
    ) -> Iterator[Opened]:
        """Each video's stored features, or why there are none."""
        for video, path in videos.items():
            try:
                self._check_asked()
                self.check_scored([video])
                yield video, self.stream(video, path, duration_s=durations_s.get(video), fps=fps.get(video))
            except TalError as error:
                yield video, error

    def _stored(self, video: str, duration_s: float | None, fps: float | None) -> FeatureStream:
        loaded = {}
        for name in self.package.features:
            if video in self._having.get(name, (video,)):
                loaded[name] = self.sources[name].load(video, duration_s=duration_s, fps=fps)
            elif name in self.sources:
                _LOG.warning("%s: localized without the stream %r: its folder has no features of it", video, name)
        loaded = on_one_grid(loaded)
        first = next(iter(loaded.values()))
        check_one_grid(video, {name: each.grid for name, each in loaded.items()})
        known_s = next((each.duration_s for each in loaded.values() if each.duration_s is not None), duration_s)
        return FeatureStream(
            video=video,
            chunks={name: [each.features] for name, each in loaded.items()},
            grid=first.grid,
            duration_s=first.grid.end_s if known_s is None else known_s,
        )

    def _extracted(self, video: str, path: Path | None, progress: Progress) -> FeatureStream:
        if path is None:
            raise FeatureError(f"no file of video {video!r}", expected="a video, or a folder of features")
        begun = {name: self._begun(video, path, name) for name in self._backbones}
        streams = {name: each for name, each in begun.items() if each is not None}
        (first, (head, pieces)), *_ = streams.items()
        duration_s = next((each.duration_s for each, _ in streams.values() if each.duration_s is not None), None)
        count = head.grid.count if duration_s is None else round(duration_s / head.grid.stride_s)
        streams[first] = head, _told(pieces, progress)
        chunks = {}
        for name, (piece, coming) in streams.items():
            rows = _as_stored(coming, self.package.features[name].dtype)
            fits = in_step(head.grid, piece.grid, count)
            chunks[name] = rows if fits else interpolated(rows, piece.grid, head.grid)
        return FeatureStream(
            video=video, chunks=chunks, grid=head.grid, duration_s=np.inf if duration_s is None else duration_s
        )

    def _begun(self, video: str, path: Path, name: str) -> tuple[VideoFeatures, Iterator[VideoFeatures]] | None:
        """The first piece of a stream, and all of them; None of sound that is missing and not needed."""
        backbone = self._backbones[name]
        if isinstance(backbone, AudioBackbone):
            pieces = stream_audio(path, backbone, video=video, isolate=True)
        else:
            pieces = stream_video(path, backbone, video=video, isolate=True)
        try:
            head = next(pieces, None)
        except VideoError as error:
            if error.stage != "audio":
                raise
            if name not in self.package.model.inputs.optional:
                cause = f"a video without sound that can be read; the model needs it, as its stream {name!r}"
                raise VideoError(path, error.stage, error.reason, cause=cause) from error
            _LOG.warning("%s: localized without the stream %r: %s", video, name, error.reason)
            return None
        if head is None:
            raise FeatureError(f"{path}: no features", cause="a video without a single frame")
        return head, chain([head], pieces)


def _lasting(found: Segments) -> Segments:
    return found[found.length_s > 0]


def _spec_of(backbone: Backbone | AudioBackbone) -> FeatureSpec:
    return audio_feature_spec(backbone.spec) if isinstance(backbone, AudioBackbone) else feature_spec(backbone.spec)


def _told(pieces: Iterable[VideoFeatures], progress: Progress) -> Iterator[VideoFeatures]:
    for piece in pieces:
        if piece.duration_s:
            progress(min(piece.grid.end_s / piece.duration_s, 1.0))
        yield piece


def _add(progress: Progress, before: int, part: float) -> None:
    progress(before + part)


def _as_stored(pieces: Iterable[VideoFeatures], dtype: str) -> Iterator[Floats]:
    """Rounded as the store rounds, so that a video and its stored features give the same detections."""
    return (piece.features.astype(dtype).astype(np.float32) for piece in pieces)


def _backbone_of(stream: str, spec: FeatureSpec, device: str, weights: Path | None) -> Backbone | AudioBackbone:
    """The backbone that makes features of this spec."""
    if spec.backbone.partition(":")[0] not in BACKBONES:
        raise FeatureError(
            f"the model reads features {spec.backbone!r} (stream {stream!r}), which no backbone here makes",
            expected="a folder of such features",
            cause="it was trained on features that others made",
            todo=f"give --features FOLDER, or --features {stream}=FOLDER and one for each other stream",
        )
    known = {"": None, "random": "random"}
    if weights is None and spec.weights == "file":
        raise FeatureError(
            f"the features of stream {stream!r} were made by {spec.backbone} with weights from a local file",
            expected="that file again",
            todo=f"give --weights FILE, or --weights {stream}=FILE for a model of several streams",
        )
    return load_backbone(
        spec.backbone,
        weights=known.get(spec.weights, weights),
        device=device,
        stride_s=spec.stride_s,
        resize_mode=spec.transform.get("mode", "fast"),
        flow_weights=_flow_weights(stream, spec),
    )


def _flow_weights(stream: str, spec: FeatureSpec) -> str | None:
    """Weights of the optical flow, where the features were made of such."""
    source = spec.transform.get("flow_weights")
    if source == "file":
        raise FeatureError(
            f"the features of stream {stream!r} are of optical flow by weights from a local file",
            expected="a folder of such features",
            todo="give --features FOLDER",
        )
    return "random" if source == "random" else None
