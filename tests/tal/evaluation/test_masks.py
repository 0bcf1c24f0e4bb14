"""Segmentation of acting objects: folders of palette PNGs as ActionVOS has them, npz, and what is missing."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from tal.errors import AnnotationError, ConfigError
from tal.evaluation import evaluate

FOLDER = "00000004_P01_close_fridge"
OTHER = "00000005_P01_take_cereal"


def _sequence(number, verb, noun, objects, frames=("f_1.jpg", "f_2.jpg"), **flags):
    return {
        "seq_id": number,
        "video": "P01",
        "verb": verb,
        "noun": noun,
        "sparse_frames": list(frames),
        "object_classes": {str(key): {"name": name, "positive": acts} for key, (name, acts) in objects.items()},
        **{"redundant": False, "missing": False, "other": False},
        **flags,
    }


def _png(path, rows, mode="P"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.array(rows, np.uint8), "L")
    if mode == "P":
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette([value % 256 for value in range(768)])
    else:
        image = image.convert(mode)
    image.save(path)


@pytest.fixture
def split(tmp_path):
    path = tmp_path / "val.json"
    sequences = [
        _sequence(4, "close", "fridge", {1: ("hand", 1), 2: ("milk", 0)}),
        _sequence(5, "take", "cereal", {1: ("hand", 1)}, ("g_1.jpg",), redundant=True),
    ]
    path.write_text(json.dumps(sequences))
    _png(tmp_path / "truth" / FOLDER / "f_1.png", [[1, 1, 2, 2]])
    _png(tmp_path / "truth" / FOLDER / "f_2.png", [[0, 0, 0, 0]])
    _png(tmp_path / "truth" / OTHER / "g_1.png", [[1, 0]])
    return path


def test_folders_of_palette_images(split, tmp_path):
    _png(tmp_path / "p" / FOLDER / "f_1.png", [[1, 0, 2, 0]])
    _png(tmp_path / "p" / FOLDER / "f_2.png", [[1, 0, 0, 0]])
    _png(tmp_path / "p" / OTHER / "g_1.png", [[1, 0]])
    result = evaluate("segmentation", split, tmp_path / "p", masks=tmp_path / "truth")
    # hand: half found, then a false alarm; milk: wrongly found, then rightly empty.
    assert result.metrics == pytest.approx(
        {"p-mIoU": 0.25, "n-mIoU": 0.5, "p-cIoU": 1 / 3, "n-cIoU": 0.5, "gIoU": (0.5 + 0 + 0 + 1) / 4, "Acc": 0.5}
    )
    assert {name: result.counts[name] for name in ("TP", "TN", "FP", "FN")} == {"TP": 1, "TN": 1, "FP": 2, "FN": 0}
    assert result.counts["ground_truth_excluded"] == {"sequence that the annotators flagged": 1}
    assert result.counts["predictions_dropped"] == {"frame that is not evaluated": 1}
    assert result.per_class["milk"]["n-mIoU"] == 0.5
    assert len(result.inputs) == 3
    kept = evaluate("segmentation", split, tmp_path / "p", masks=tmp_path / "truth", flagged="keep")
    assert kept.metrics["p-mIoU"] == pytest.approx((0.5 + 0 + 1) / 3)


def test_missing_frames_count_as_empty(split, tmp_path):
    maps = {f"{FOLDER}/f_2": np.zeros((1, 4), int)}
    result = evaluate("segmentation", split, maps, masks=tmp_path / "truth")
    assert result.counts["frames_without_prediction"] == 1
    assert result.counts["FN"] == 1
    assert result.metrics["Acc"] == 0.75
    assert result.metrics["n-mIoU"] == 0
    assert "1 frames without a predicted mask" in result.warnings[0]


def test_npz_gives_the_same(split, tmp_path):
    maps = {f"{FOLDER}/f_1": np.array([[1, 0, 2, 0]]), f"{FOLDER}/f_2": np.array([[1, 0, 0, 0]])}
    path = tmp_path / "p.npz"
    np.savez(path, **maps)
    file = evaluate("segmentation", split, path, masks=tmp_path / "truth")
    memory = evaluate("segmentation", split, maps, masks=tmp_path / "truth")
    assert file.metrics == memory.metrics
    assert str(path) in file.inputs


def test_nothing_negative_is_undefined(split, tmp_path):
    split.write_text(json.dumps([_sequence(4, "close", "fridge", {1: ("hand", 1)})]))
    result = evaluate("segmentation", split, tmp_path / "truth", masks=tmp_path / "truth")
    assert result.metrics["p-mIoU"] == 1
    assert math.isnan(result.metrics["n-mIoU"])
    assert math.isnan(result.metrics["n-cIoU"])


def test_unusable_masks_are_refused(split, tmp_path):
    def refused(told, predictions, error=AnnotationError, **options):
        with pytest.raises(error, match=told):
            evaluate("segmentation", split, predictions, **({"masks": tmp_path / "truth"} | options))

    (tmp_path / "empty").mkdir()
    refused("none of its 0 masks", tmp_path / "empty")
    refused("--masks", tmp_path / "truth", error=ConfigError, masks=None)
    refused("no such file", tmp_path / "nowhere")
    refused("npz", split)
    refused("2x1, the true one 4x1", {f"{FOLDER}/f_1": np.zeros((1, 2), int)})
    refused("whole numbers from 0 to 255", {f"{FOLDER}/f_1": np.full((1, 4), 300)})
    refused("whole numbers from 0 to 255", {f"{FOLDER}/f_1": np.zeros((1, 4))})
    _png(tmp_path / "rgb" / FOLDER / "f_1.png", [[1, 1, 2, 2]], "RGB")
    refused("mode RGB", tmp_path / "rgb")
    broken = tmp_path / "broken" / FOLDER / "f_1.png"
    broken.parent.mkdir(parents=True)
    broken.write_bytes((tmp_path / "truth" / FOLDER / "f_1.png").read_bytes()[:60])
    refused("cannot be read as PNG", tmp_path / "broken")
    (tmp_path / "truth" / FOLDER / "f_2.png").unlink()
    refused("no mask 00000004_P01_close_fridge/f_2", tmp_path / "truth")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"a": 1}, "no list of sequences"),
        ([], "no list of sequences"),
        ([{"video": "a"}], "cannot be read: KeyError"),
        ([_sequence(4, "a", "b", {300: ("x", 1)})], "from 1 to 255"),
        ([_sequence(4, "a", "b", {1: ("x", 1)})] * 2, "stands twice"),
        ([_sequence(4, "a", "b/../../../..", {1: ("x", 1)}, ("../../x.png",))], "none of its|leads out"),
    ],
)
def test_unusable_splits_are_refused(split, tmp_path, content, told):
    split.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=told):
        evaluate("segmentation", split, tmp_path / "truth", masks=tmp_path / "truth")


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path):
    from tal.annotations.actionvos import MaskFiles

    _png(tmp_path / "secret.png", [[1]])
    (tmp_path / "masks").mkdir()
    with pytest.raises(AnnotationError, match="leads out"):
        MaskFiles(tmp_path / "masks").read("../secret")
    assert MaskFiles({"a/b": np.array([[True]])}).read("a/b").tolist() == [[1]]
