"""`tal demo`: the whole job on the built-in benchmark, stage by stage, through the functions behind the commands."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tal.annotations import read_annotations
from tal.annotations.records import Annotations
from tal.annotations.results import read_results
from tal.errors import TalError
from tal.evaluation import Evaluation, evaluate
from tal.pipelines.evaluation_tables import show
from tal.pipelines.localize import PREDICTIONS, localize
from tal.pipelines.reporting import Shown, build_report
from tal.playground.dataset import generate
from tal.report.page import write_report

RECIPE, BACKBONE, STREAM, SPLIT = "playground/actionformer", "tiny", "tiny", "testing"


@dataclass(frozen=True)
class _Places:
    """Where the stages of a demo leave what they make."""

    out: Path

    @property
    def dataset(self) -> Path:
        return self.out / "playground"

    @property
    def features(self) -> Path:
        return self.out / "features"

    @property
    def run(self) -> Path:
        return self.out / "run"

    @property
    def model(self) -> Path:
        return self.run / "model"

    @property
    def result(self) -> Path:
        return self.out / "result"

    @property
    def page(self) -> Path:
        return self.out / "report.html"

    def file_of(self, video: str) -> Path:
        return self.dataset / "videos" / f"{video}.mp4"


def demo(*, out: Path = Path("demo"), videos: int = 40, seed: int = 0) -> None:
    """The whole job on the built-in benchmark: render, extract, train, localize, evaluate, report.

    Takes a few minutes on two cores. Run again, it keeps the stages that are finished. The videos are synthetic, and
    the numbers say that the pipeline works, nothing about real video.

    Args:
        out: Folder for everything.
        videos: How many to render: 60 % to train on, 20 % to validate on, 20 % to test on.
        seed: Of the videos.
    """
    places = _Places(out)
    began = time.monotonic()
    with _stage(1, f"playground: {videos} videos of figures that act"):
        annotations = generate(places.dataset, difficulty="easy", seed=seed, videos=videos)
    truth = read_annotations(annotations)
    with _stage(2, f"extract: features of the {BACKBONE} backbone"):
        _extract(places, truth)
    with _stage(3, f"train: recipe {RECIPE}"):
        _unless_newer(places.model / "card.md", [annotations], lambda: _train(places, annotations))
    test = [video for video, record in truth.videos.items() if record.subset == SPLIT]
    predictions = places.result / PREDICTIONS
    with _stage(4, f"localize: {len(test)} test videos"):
        _unless_newer(predictions, [places.model / "card.md"], lambda: _localize(places, test))
    with _stage(5, "evaluate"):
        evaluation = evaluate("generic", truth, predictions, subset=SPLIT)
    with _stage(6, "report"):
        _report(places, truth, evaluation, test)
    print()
    show(evaluation, per_class=True)
    print(f"\n{time.monotonic() - began:.0f} s in all. To look at: {places.page}")


@contextmanager
def _stage(number: int, name: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    print(f"{number}/6  {name}", flush=True)
    began = time.monotonic()
    yield
    print(f"     {time.monotonic() - began:.1f} s", flush=True)


def _unless_newer(made: Path, sources: list[Path], make: Callable[[], None]) -> None:
    """Make it, unless it is there and newer than all that it is made from."""
    if not made.exists() or any(source.stat().st_mtime > made.stat().st_mtime for source in sources):
        make()


def _extract(places: _Places, truth: Annotations) -> None:
    from tal.backbones import load_backbone, of_frames
    from tal.features import FeatureStore
    from tal.features.extractor import extract, feature_spec

    backbone = of_frames(load_backbone(BACKBONE))
    store = FeatureStore.create(places.features, feature_spec(backbone.spec))
    summary = extract({video: places.file_of(video) for video in truth.videos}, backbone, store)
    if summary.failed:
        failure = summary.failed[0]
        raise TalError(
            f"{len(summary.failed)} videos failed, first {failure.video}: {failure.stage}: {failure.error}",
            todo=f"remove {places.out} and run the demo again",
        )


def _train(places: _Places, annotations: Path) -> None:
    from tal.pipelines.train import train
    from tal.pipelines.train_checkpoints import LAST
    from tal.pipelines.train_recipe import build_recipe, read_recipe

    words = ["--data.annotations", str(annotations), f"--data.features.{STREAM}.folder", str(places.features)]
    recipe = build_recipe(read_recipe(RECIPE), words)
    resume = (places.run / "checkpoints" / LAST).exists() and not places.model.exists()
    if not resume:
        shutil.rmtree(places.run, ignore_errors=True)
    train(recipe, places.run, resume=resume, command=f"tal train {RECIPE} {' '.join(words)}")


def _localize(places: _Places, test: list[str]) -> None:
    files = [places.file_of(video) for video in test]
    if localize(files, model=places.model, out=places.result, threshold=0.0, device="cpu", no_report=True):
        raise TalError("some test videos failed", todo=f"remove {places.out} and run the demo again")


def _report(places: _Places, truth: Annotations, evaluation: Evaluation, test: list[str]) -> None:
    predictions = read_results(places.result / PREDICTIONS)
    report = build_report(
        {video: predictions[video] for video in test},
        page=places.page,
        look=Shown(title="Playground, test split", subtitle=f"{len(test)} synthetic videos, {BACKBONE} features"),
        paths={video: places.file_of(video) for video in test},
        truth=truth,
        evaluation=evaluation,
        facts={"model": str(places.model), "recipe": RECIPE, "predictions": str(places.result / PREDICTIONS)}.items(),
    )
    write_report(places.page, report)
