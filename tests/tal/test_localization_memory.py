"""A long video takes no more memory than a short one."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from tal.backbones.base import Backbone, BackboneSpec
from tal.features.extractor import feature_spec
from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.package import Package
from tal.video.base import Resize
import tal.localization as localizing

torch.manual_seed(0)
torch.set_num_threads(1)
spec = BackboneSpec(
    name="tiny", weights="toy", weights_hash="toy", clip_frames=4, fps=10.0, stride_s=0.2,
    resize=Resize(exact=(8, 8), interpolation="bilinear"), mean=(0.5,) * 3, std=(0.5,) * 3, width=3,
)

class Toy(Backbone):
    def __init__(self):
        super().__init__()
        self.spec = spec
        self.scale = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, clips):
        return clips.mean((1, 3, 4)) * self.scale

localizing.load_backbone = lambda *_, **__: Toy().eval()
config = ActionFormerConfig(streams={"colour": 3}, classes=("a", "b", "c"), width=128)
model = ActionFormer(config).eval()
package = Package(method="actionformer", model=model, features={"colour": feature_spec(spec)}, thresholds={}, folder="")
found = localizing.localize(sys.argv[1], package)
print(len(found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _measured(path):
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=True)
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
