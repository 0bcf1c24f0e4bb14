"""An exported network is kept only if its outputs are the package's: whatever else comes out is a difference."""

import math

import pytest
import torch

from tal.pipelines.export_model import difference


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([1.0, 2.0], [1.0, math.nan], math.inf),
        ([1.0, math.nan], [1.0, 2.0], math.inf),
        ([1.0, math.inf], [1.0, 2.0], math.inf),
        ([1.0, math.nan, -math.inf], [1.25, math.nan, -math.inf], 0.25),
        ([1.0, 1.0], [1.0], math.inf),
    ],
)
def test_what_is_a_difference(ours, theirs, expected):
    assert difference(torch.tensor(ours), torch.tensor(theirs)) == expected
