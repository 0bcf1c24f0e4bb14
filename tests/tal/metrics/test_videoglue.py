"""The seven scores that VideoGLUE prints, from the averages that it prints."""

import pytest

from tal.metrics.videoglue import cost_weights, group_mean, videoglue_score

# E2E, Frozen, MLAP, LoRA: averages as the paper prints them, and the published score.
PUBLISHED = {
    "CLIP": ((52.8, 32.8, 43.3, 49.3), 39.8),
    "FLAVA": ((49.4, 31.7, 39.3, 44.1), 37.3),
    "CoCa": ((55.2, 31.2, 36.3, 49.0), 38.2),
    "DINOv2": ((50.5, 35.0, 42.5, 47.0), 40.17),
    "VATT": ((52.7, 39.1, 46.3, 49.9), 43.97),
    "VideoMAE": ((51.0, 32.6, 40.9, 45.9), 38.6),
    "InternVideo": ((52.5, 33.1, 42.2, 47.7), 39.5),
}
PARAMETERS_M = (88.9, 1.16, 3.7, 9.7)
GFLOPS = (366.7, 366.7, 369.5, 377.9)
CLIP = {
    "E2E": {"K400": 81.0, "MiT": 39.0, "SSv2": 46.6, "D48": 75.7, "Charades": 54.3, "AVA": 27.1, "AVA-K": 28.9},
    "Frozen": dict(zip(("K400", "MiT", "SSv2", "D48", "Charades", "ANet", "AVA", "AVA-K"),
                       (75.2, 32.6, 41.0, 44.1, 11.2, 32.7, 21.1, 25.9), strict=True)),
}  # fmt: skip


@pytest.mark.parametrize(("averages", "published"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_scores(averages, published):
    score = (videoglue_score(averages, PARAMETERS_M) + videoglue_score(averages, GFLOPS)) / 2
    assert score == pytest.approx(published, abs=0.11)


def test_groups_weigh_alike():
    assert group_mean(CLIP["Frozen"]) == pytest.approx((53.9 + 42.55 + 11.2 + 32.7 + 23.5) / 5)
    assert group_mean(CLIP["E2E"]) == pytest.approx(50.9, abs=0.05)
    assert group_mean({"K400": 10, "AVA": 20}) == pytest.approx(15)


def test_weights_by_hand():
    assert cost_weights([10, 100]).tolist() == pytest.approx([2 / 3, 1 / 3])
    assert videoglue_score([0.3, 0.6], [10, 100]) == pytest.approx(0.4)
