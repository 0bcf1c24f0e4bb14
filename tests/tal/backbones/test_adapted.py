"""Beyond pooled vectors in float32: tokens, layers by name, half precision, compilation, on any backbone."""

import pytest
import torch

from tal.backbones import load_backbone
from tal.backbones.adapted import Adapted
from tal.backbones.base import Backbone, BackboneSpec
from tal.errors import TalError
from tal.video.base import Resize


class Small(Backbone):
    """Two convolutions over a clip, pooled."""

    def __init__(self, token_layer="second"):
        super().__init__()
        self.spec = BackboneSpec(
            name="small",
            weights="random",
            weights_hash="",
            clip_frames=4,
            fps=10.0,
            stride_s=0.2,
            resize=Resize(exact=(8, 12), interpolation="bilinear"),
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            width=6,
        )
        self.token_layer = token_layer
        torch.manual_seed(0)
        first, second = torch.nn.Conv3d(3, 5, 3, padding=1), torch.nn.Conv3d(5, 6, 2, stride=2)
        self.network = torch.nn.ModuleDict({"first": first, "second": second, "unused": torch.nn.Linear(2, 2)})

    def forward(self, clips):
        return self.network["second"](self.network["first"](clips.transpose(1, 2)).relu()).mean((2, 3, 4))


def adapted(**settings):
    made = Adapted(Small(), **({"tokens": False, "layers": (), "dtype": "float32", "compiled": False} | settings))
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def clips():
    return torch.randn(3, 4, 3, 8, 12, generator=torch.Generator().manual_seed(1))


def test_tokens_are_the_places_before_pooling_in_the_order_of_time_rows_columns(clips):
    backbone = adapted(tokens=True)
    tokens = backbone(clips)
    assert tokens.shape == (3, backbone.spec.tokens, backbone.spec.width) == (3, 2 * 4 * 6, 6)
    network = backbone.inner.network
    with torch.no_grad():
        torch.testing.assert_close(tokens.mean(dim=1), Small()(clips))
        volume = network["second"](network["first"](clips.transpose(1, 2)).relu())
    torch.testing.assert_close(tokens[1, 1 * 24 + 2 * 6 + 3], volume[1, :, 1, 2, 3])


def test_several_layers_come_in_one_pass_in_the_order_asked(clips):
    backbone = adapted(layers=("second", "first", "features"))
    given = backbone(clips)
    assert list(given) == ["second", "first", "features"] == list(backbone.outputs) == list(backbone.spec.outputs)
    assert {name: tuple(value.shape) for name, value in given.items()} == {
        "second": (3, 6),
        "first": (3, 5),
        "features": (3, 6),
    }
    torch.testing.assert_close(given["second"], given["features"])
    assert [backbone.spec.output(name).width for name in given] == [6, 5, 6]
    assert backbone.spec.width == 6
    with pytest.raises(TalError, match="unknown output"):
        backbone.spec.output("third")


def test_layers_and_tokens_together(clips):
    backbone = adapted(layers=("first",), tokens=True)
    assert backbone(clips)["first"].shape == (3, 4 * 8 * 12, 5)
    assert backbone.spec.output("first").tokens == 4 * 8 * 12


@pytest.mark.parametrize(("dtype", "largest"), [("bfloat16", 2e-2), ("float16", 3e-3)])
def test_half_precision_is_as_near_as_its_digits_allow_and_gives_float32(clips, dtype, largest):
    backbone = adapted(dtype=dtype)
    assert backbone.spec.dtype == dtype
    narrow, wide = backbone(clips), adapted()(clips)
    assert narrow.dtype == torch.float32
    error = float((narrow - wide).norm() / wide.norm())
    assert 0 < error < largest


@pytest.mark.full
def test_a_compiled_network_gives_the_same(clips):
    try:
        backbone = adapted(compiled=True, layers=("first", "features"))
    except TalError as error:
        pytest.skip(error.given)
    with torch.inference_mode():
        compiled, plain = backbone(clips), adapted(layers=("first", "features"))(clips)
        again = backbone(clips + 1)
    for name in plain:
        torch.testing.assert_close(compiled[name], plain[name], atol=1e-5, rtol=1e-5)
    assert not torch.equal(again["features"], compiled["features"])


def test_no_compiler_is_told_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr("tal.backbones.adapted.shutil.which", lambda _: None)
    with pytest.raises(TalError, match=r"needs a C\+\+ compiler"):
        adapted(compiled=True)


def test_what_cannot_be_given_is_told():
    with pytest.raises(TalError, match=r"unknown layer.*'fist'") as caught:
        adapted(layers=("fist",))
    assert "did you mean first" in str(caught.value)
    with pytest.raises(TalError, match="is not run"):
        adapted(layers=("unused",))
    with pytest.raises(TalError, match="precision"):
        adapted(dtype="float64")
    with pytest.raises(TalError, match="gives no tokens"):
        Adapted(Small(token_layer=""), tokens=True, layers=(), dtype="float32", compiled=False)
    with pytest.raises(TalError, match="gives no tokens"):
        load_backbone("tiny", tokens=True)


@pytest.mark.parametrize("shape", [(4, 5, 2, 3), (2, 6, 5), (2, 5, 2, 3, 1), (2, 5)])
def test_places_of_maps_of_frames_and_of_clips(shape):
    tokens = Small().places(torch.randn(shape), 2)
    assert (len(tokens), tokens.shape[2]) == (2, 5)
    assert tokens.numel() == torch.Size(shape).numel()


def test_a_layer_without_places_is_told():
    with pytest.raises(TalError, match=r"gives \(3, 4\)"):
        Small().places(torch.zeros(3, 4), 2)
    with pytest.raises(TalError, match="gives dict"):
        Small().places({}, 2)
