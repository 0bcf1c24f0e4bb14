"""A long video takes no more memory than a short one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import resource, sys
import torch
from tal.features.extractor import feature_spec
from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.package import Package
from toy_backbone import ToyBackbone
import tal.localization as localizing

torch.manual_seed(0)
torch.set_num_threads(1)
backbone = ToyBackbone().eval()
localizing.load_backbone = lambda *_, **__: backbone
config = ActionFormerConfig(streams={"colour": 3}, classes=("a", "b", "c"), width=128)
model = ActionFormer(config).eval()
features = {"colour": feature_spec(backbone.spec)}
package = Package(method="actionformer", model=model, features=features, thresholds={}, folder="")
found = localizing.localize(sys.argv[1], package)
print(len(found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _measured(path):
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "helpers")}
    command = [sys.executable, "-c", SCRIPT, str(path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    count, peak_kib = done.stdout.split()
    return int(count), int(peak_kib)


@pytest.mark.full
def test_ten_hours_take_no_more_memory_than_ten_minutes(tmp_path, make_video):
    short = make_video(tmp_path / "short.mp4", frames=1200, fps=2, size=(32, 24))
    long = make_video(tmp_path / "long.mp4", frames=72_000, fps=2, size=(32, 24))
    few, small = _measured(short)
    many, large = _measured(long)
    assert large <= 1.1 * small
    assert few == 200
    assert many > 10 * few
