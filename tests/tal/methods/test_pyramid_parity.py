"""ActionFormer, TriDet and TemporalMaxer with the originals' weights: outputs, losses and detections are theirs."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from parity import PyramidCase

CASES = {"actionformer": "actionformer_local_small", "tridet": "tridet_small", "temporalmaxer": "temporalmaxer_small"}


@pytest.fixture(scope="module", params=CASES)
def method(request):
    return request.param


@pytest.fixture(scope="module")
def case(method):
    return PyramidCase(CASES[method])


@pytest.mark.parametrize("padded", [0, 104, 128, 160, 300])
@pytest.mark.parametrize("videos", [(0,), (1,), (1, 0)])
def test_outputs_and_detections(case, method, videos, padded):
    model, batch = case.model(method).eval(), case.batch(videos, padded)
    with torch.no_grad():
        outputs = model(batch)
    for row, video in enumerate(videos):
        case.check_outputs(outputs, row, video)
    for video, found in zip(videos, model.decode(outputs, batch), strict=True):
        case.check_detections(found, video)


@pytest.mark.parametrize("padded", [0, 128])
def test_losses_and_running_positives(case, method, padded):
    model, batch = case.model(method).train(), case.batch((0, 1), padded)
    case.check_losses(model, model.loss(model(batch), batch))
