"""All real clips, with every decoder: each has features that stand in its time, or one record that says why not."""

import numpy as np
import pytest

from tal.backbones import load_backbone
from tal.errors import TalError
from tal.features import FeatureStore
from tal.features.extractor import extract, feature_spec
from tal.features.verify import verify
from tal.video import DECODERS, decoder_version, list_videos, probe

DAMAGED = "decord__corrupted.mp4"
NO_TIMES = "mmaction2__test.avi"  # FFmpeg guesses its missing pts differently where frames are asked for by position
REFUSED = {
    "pyav": {},
    "auto": {},
    "torchcodec": {
        DAMAGED: ("decode", "torchcodec fails: "),
        NO_TIMES: ("decode", "torchcodec gives the frame of "),
    },
    "decord": {
        DAMAGED: ("decode", "decord fails: "),
        NO_TIMES: ("decode", "decord gives the frame of "),
        "torchcodec__av1_video.mkv": ("open", "decord fails: "),  # its FFmpeg knows no AV1
    },
}


@pytest.mark.full
@pytest.mark.parametrize("decoder", [*DECODERS, "auto"])
def test_every_clip_has_features_or_a_record_that_says_why_not(cases, tmp_path, decoder):
    if decoder != "auto":
        try:
            decoder_version(decoder)
        except TalError as error:
            pytest.skip(error.given)
    backbone = load_backbone("tiny")
    videos = {path.name: path for path in list_videos([cases / "videos"])}
    store = FeatureStore.create(tmp_path / "store", feature_spec(backbone.spec))
    summary = extract(videos, backbone, store, decoder=decoder, decoders=2)
    refused = {failure.video: failure for failure in summary.failed}
    if decoder == "decord":  # it takes gigabytes for long videos, more on a busy machine, and is ended for it
        for name in [name for name, failure in refused.items() if "of memory and was ended" in failure.error]:
            del videos[name], refused[name]
    assert set(refused) == set(REFUSED[decoder])
    for name, (stage, begins) in REFUSED[decoder].items():
        known = store.failure(name)
        assert known == refused[name]
        assert (known.stage, known.attempts) == (stage, 1)
        assert known.error.startswith(begins)
        assert "/" not in known.error  # no places in somebody's source
        assert known.source["size"] == videos[name].stat().st_size
    assert set(summary.done) == set(store.ids()) == set(videos) - set(refused)
    for name in summary.done:
        record, features = store.record(name), store.load(name)
        info = probe(videos[name])
        assert features.duration_s == pytest.approx(info.duration_s)
        features.grid.check_duration(info.duration_s)
        assert np.isfinite(features.features).all()
        assert bool(record["losses"]) == (name == DAMAGED)
        assert record["source"]["decoder"].startswith("pyav" if decoder == "auto" else decoder)
    assert {each.kind for each in verify(store)} <= {"constant", "near_duplicate"}
    again = extract(videos, backbone, store, decoder=decoder, decoders=2)
    assert (again.done, set(again.skipped)) == ([], set(summary.done))
