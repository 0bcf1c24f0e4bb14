"""Compare methods: train each of them on each set with each seed, and print one table.

    python tools/compare.py --cases DIR --out OUT [--methods NAME ...] [--sets NAME ...] [--seeds 0 1 2 3 4] [--jobs 1]

DIR holds utkinect/ and repcount_pose/, each with annotations.json and features/; the playground is rendered and its
features are extracted below OUT, once. Every cell (method, set, seed) is a process of its own, so that its times and
its memory are its own, and leaves OUT/cells/SET/METHOD/SEED.json. A cell that is there, of the same settings, is not
done again: the same command goes on where it was stopped. Settings do not tell of changed code: after a change that may
move results, choose another OUT. `--table` prints what there is and trains nothing.

All methods of a set share its recipe SET/small_data (windows, augmentation, optimiser, epochs, width); UTKinect's was
chosen by cross-validation with ActionFormer on the training split, the others follow it. What a method needs beyond it
stands in `compare_methods.METHODS`, and is printed. `tal` has recipes of its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compare_methods import METHODS, SETS, NotApplicable, recipe_values_of
from compare_table import table

from tal.errors import TalError

PLAYGROUND = {"difficulty": "hard", "seed": 7, "videos": 100}
STRIDE_S = 4 / 15  # of `tiny`; sound is put on the same grid


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method on one set with one seed; its result is a file."""

    method: str
    set: str
    seed: int

    def path(self, out: Path) -> Path:
        """Where the result is kept."""
        return out / "cells" / self.set / self.method / f"{self.seed}.json"

    def words(self) -> list[str]:
        """How a process is told of it."""
        return ["--methods", self.method, "--sets", self.set, "--seeds", str(self.seed)]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the sets are.

    Args:
        cases: Folder of the sets that are given.
        out: Folder of what is made here.
    """

    cases: Path
    out: Path

    def annotations(self, name: str) -> Path:
        """The annotation file of a set."""
        return (self.out if name == "playground" else self.cases) / name / "annotations.json"

    def features(self, name: str, stream: str) -> Path:
        """The folder of one stream's features."""
        if name == "playground":
            return self.out / name / f"features_{stream}"
        return self.cases / name / "features"


def make_playground(places: Places) -> None:
    """Render the hard playground, and extract what its frames and its sound give; finished parts are kept."""
    from tal.pipelines.extract import extract
    from tal.playground.dataset import generate

    folder = places.out / "playground"
    generate(folder, **PLAYGROUND)  # type: ignore[arg-type]
    for stream, backbone in SETS["playground"].backbones.items():
        target = places.features("playground", stream)
        if extract([str(folder / "videos")], backbone=backbone, out=target, stride_s=STRIDE_S):
            raise TalError(f"features of {backbone} could not be made of all videos", todo=f"see {target}")


def run_cell(cell: Cell, places: Places) -> dict[str, Any]:
    """Train, detect, score; all times are processor time, which other work on the machine disturbs least."""
    from compare_metrics import metrics_of

    from tal.pipelines.train import fit
    from tal.pipelines.train_derive import derive
    from tal.pipelines.train_finish import detect
    from tal.pipelines.train_recipe import build_recipe, recipe_values
    from tal.pipelines.train_samples import open_data

    recipe = build_recipe(recipe_values_of(cell.method, cell.set, places.annotations, places.features))
    recipe = replace(recipe, trainer=replace(recipe.trainer, seed=cell.seed, validate_every=0, accelerator="cpu"))
    data = open_data(recipe.data)
    derived = derive(recipe, data)
    list(data.train), list(data.validation)  # read before anything is measured
    _warm_up()
    loaded, began_s = _peak_mib(), time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "checkpoints").mkdir()
        trained = fit(derived, replace(data, validation=data.validation.subset([])), Path(scratch))
    trained_s = time.process_time()
    detections = detect(trained.method, data.validation)
    done_s = time.process_time()
    metrics = metrics_of(detections, recipe, data)
    return {
        "method": cell.method,
        "set": cell.set,
        "seed": cell.seed,
        "metrics": metrics,
        "parameters": sum(each.numel() for each in trained.method.parameters()),
        "train_s": trained_s - began_s,
        "infer_s": done_s - trained_s,
        "video_s": sum(sample.duration_s for sample in data.validation),
        "peak_mib": _peak_mib(),
        "loaded_mib": loaded,
        "settings": settings_of(recipe_values(recipe)),
    }


def settings_of(values: dict[str, Any]) -> dict[str, Any]:
    """What of a recipe decides a result: everything but where its files are."""
    data = {name: value for name, value in values["data"].items() if name not in ("annotations", "features")}
    streams = sorted(values["data"]["features"])
    return json.loads(json.dumps({**values, "data": {**data, "features": streams}}))


def _warm_up() -> None:
    """Compile the suppression's kernels before anything is measured."""
    import numpy as np

    from tal.ops.nms import NmsConfig, suppress
    from tal.segments import Segments

    for per_class in (True, False):
        row = Segments(start_s=np.zeros(2), end_s=np.ones(2), label=np.zeros(2, np.int64), classes=("action",))
        suppress(row, NmsConfig(per_class=per_class))


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def finished(cell: Cell, places: Places) -> dict[str, Any] | None:
    """A cell's result, if it is there and was made with today's settings."""
    from tal.pipelines.train_recipe import build_recipe, recipe_values

    path = cell.path(places.out)
    if not path.exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    recipe = build_recipe(recipe_values_of(cell.method, cell.set, places.annotations, places.features))
    recipe = replace(recipe, trainer=replace(recipe.trainer, seed=cell.seed, validate_every=0, accelerator="cpu"))
    return result if result["settings"] == settings_of(recipe_values(recipe)) else None


def cells_of(options: argparse.Namespace) -> Iterator[Cell]:
    """The cells that were asked for, seed after seed, so that a run that is stopped has compared all methods."""
    for seed in options.seeds:
        for name in options.sets:
            for method in options.methods:
                if not isinstance(METHODS[method].on(name), NotApplicable):
                    yield Cell(method=method, set=name, seed=seed)


def run_all(cells: Sequence[Cell], options: argparse.Namespace) -> int:
    """Each cell in a process of its own, `jobs` at a time; returns how many failed."""
    places = Places(cases=options.cases, out=options.out)
    waiting = [cell for cell in cells if finished(cell, places) is None]
    running: dict[subprocess.Popen[bytes], Cell] = {}
    failed, began_s = 0, time.monotonic()
    total = len(waiting)
    while waiting or running:
        while waiting and len(running) < options.jobs:
            cell = waiting.pop(0)
            running[_start(cell, options)] = cell
        time.sleep(0.2)
        for process in [each for each in running if each.poll() is not None]:
            cell = running.pop(process)
            failed += process.returncode != 0
            word = "failed" if process.returncode else "done"
            left = len(waiting) + len(running)
            print(
                f"{word}: {cell.method} on {cell.set}, seed {cell.seed}; {total - left} of {total}, "
                f"{time.monotonic() - began_s:.0f} s",
                file=sys.stderr,
            )
    return failed


def _start(cell: Cell, options: argparse.Namespace) -> "subprocess.Popen[bytes]":
    cell.path(options.out).parent.mkdir(parents=True, exist_ok=True)
    log = cell.path(options.out).with_suffix(".log").open("wb")
    words = [sys.executable, __file__, "--cell", "--cases", str(options.cases), "--out", str(options.out)]
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with log:
        return subprocess.Popen([*words, *cell.words()], stdout=log, stderr=log, env={**os.environ, **one_thread})


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="folder of utkinect/ and repcount_pose/")
    parser.add_argument("--out", type=Path, required=True, help="folder of the cells' results, and of the playground")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="default: all")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time, of one core each")
    parser.add_argument("--table", action="store_true", help="print what there is, train nothing")
    parser.add_argument("--cell", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Train what is missing, print the table; exit code 1 if a cell failed."""
    options = _options(words)
    places = Places(cases=options.cases, out=options.out)
    cells = list(cells_of(options))
    if options.cell:
        for cell in cells:
            written = json.dumps(run_cell(cell, places), indent=1)
            partial = cell.path(options.out).with_suffix(".part")
            partial.write_text(written + "\n", encoding="utf-8")
            partial.replace(cell.path(options.out))
        return 0
    failed = 0
    if not options.table:
        if "playground" in options.sets:
            make_playground(places)
        failed = run_all(cells, options)
        if failed:
            print(f"{failed} cells failed; each has a .log beside its place below {options.out}", file=sys.stderr)
    results = [found for cell in cells if (found := finished(cell, places)) is not None]
    print(table(results, methods=options.methods, sets=options.sets, seeds=options.seeds))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
