"""Checkpoints in the key layouts of both implementations of BMN, against a slow network with a dense mask."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tal.cli import main
from tal.errors import PackageError
from tal.methods.base import Batch
from tal.methods.bmn import Bmn
from tal.methods.originals import ORIGINALS, find_original
from tal.package import load_model
from tal.timeline import SnippetGrid

JJBOY = {"temporal_scale": 9, "num_sample": 5, "num_sample_perbin": 2, "prop_boundary_ratio": 0.25}
OPENTAD = {"tscale": 9, "dscale": 6, "num_sample_perbin": 2, "prop_extend_ratio": 0.25}


def random_state(shapes, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=rng) / math.sqrt(np.prod(shape[1:])) for name, shape in shapes.items()}


def with_biases(shapes):
    return {
        f"{name}.{kind}": shape if kind == "weight" else shape[:1] for name, shape in shapes.items() for kind in KINDS
    }


KINDS = ("weight", "bias")


def jjboy_weights(*, snippets=9, features=12, one=8, two=6, three=10, samples=5):
    """As its model saves them, the mask included; it stands for 128 MB of zeros and takes none."""
    shapes = {
        "x_1d_b.0": (one, features // 4, 3),
        "x_1d_b.2": (one, one // 4, 3),
        "x_1d_s.0": (one, one // 4, 3),
        "x_1d_s.2": (1, one, 1),
        "x_1d_e.0": (one, one // 4, 3),
        "x_1d_e.2": (1, one, 1),
        "x_1d_p.0": (one, one, 3),
        "x_3d_p.0": (three, one, samples, 1, 1),
        "x_2d_p.0": (two, three, 1, 1),
        "x_2d_p.2": (two, two, 3, 3),
        "x_2d_p.4": (two, two, 3, 3),
        "x_2d_p.6": (2, two, 1, 1),
    }
    mask = torch.zeros(1).expand(snippets, samples * snippets * snippets)
    return {"sample_mask": mask, **random_state(with_biases(shapes))}


def opentad_weights(*, features=12, width=8, sampled=10, reduced=4, out=6, samples=5, layers=2, shared=False):
    tem = {"0": (width, width // 4, 3), "1": (2, width, 1)}
    if not shared:
        tem = {
            f"{head}.{layer}": (1, *tem[layer][1:]) if layer == "1" else tem[layer] for head in "01" for layer in "01"
        }
    extractor, head = "roi_head.proposal_roi_extractor.", "roi_head.proposal_head.head."
    shapes = {
        "projection.convs.0.conv": (width, features // 4, 3),
        "projection.convs.1.conv": (width, width // 4, 3),
        **{f"rpn_head.tem.{name}.conv": shape for name, shape in tem.items()},
        extractor + "reduce_dim.0": (reduced, width, 3),
        extractor + "conv3d.0": (sampled, reduced, samples, 1),
        extractor + "conv2d.0": (out, sampled, 1, 1),
        **{f"{head}{layer}.0": (out, out, 3, 3) for layer in range(layers)},
        f"{head}{layers}": (2, out, 1, 1),
    }
    return random_state(with_biases(shapes), seed=1)


def dense(x, places, shape, *, samples, per_sample, extension):
    """(C, T) -> (C, N, rows, columns), one position of one segment at a time; zeros where there is no segment."""
    found = torch.zeros(len(x), samples, *shape)
    for (row, column), (start, stop) in places.items():
        margin = (stop - start + 1.0) * extension
        low, step = start - margin, (stop - start + 2 * margin) / (samples * per_sample - 1.0)
        for position in range(samples * per_sample):
            at = low + step * position
            fraction, down = math.modf(at)
            for snippet, weight in ((int(down), 1 - fraction), (math.ceil(at), fraction)):
                if 0 <= snippet < x.shape[1]:
                    found[:, position // per_sample, row, column] += x[:, snippet] * weight / per_sample
    return found


def conv(weights, name, x, groups=1, relu=True):
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    if weight.dim() == 3:
        x = F.conv1d(x, weight, bias, padding=weight.shape[-1] // 2, groups=groups)
    else:
        x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
    return F.relu(x) if relu else x.sigmoid()


def sampled(weights, name, x):
    """(C, N, rows, columns) -> (1, H, rows, columns)."""
    found = torch.einsum("cnij,hcn->hij", x, weights[f"{name}.weight"].flatten(2))
    return F.relu(found + weights[f"{name}.bias"][:, None, None])[None]


def slow_jjboy(w, x):
    base = conv(w, "x_1d_b.2", conv(w, "x_1d_b.0", x, 4), 4)
    ends = [conv(w, f"x_1d_{k}.2", conv(w, f"x_1d_{k}.0", base, 4), relu=False)[:, 0] for k in "se"]
    places = {(i, j): (i, j + 1) for i in range(9) for j in range(i, 9)}
    samples = dense(conv(w, "x_1d_p.0", base)[0], places, (9, 9), samples=5, per_sample=2, extension=0.25)
    found = sampled(w, "x_3d_p.0", samples)
    for layer in (0, 2, 4):
        found = conv(w, f"x_2d_p.{layer}", found)
    regression, classification = conv(w, "x_2d_p.6", found, relu=False)[0]
    return *ends, regression, classification


def slow_opentad(w, x, shared):
    base = conv(w, "projection.convs.1.conv", conv(w, "projection.convs.0.conv", x, 4), 4)
    names = [("0", "1")] if shared else [("0.0", "0.1"), ("1.0", "1.1")]
    tem = [conv(w, f"rpn_head.tem.{b}.conv", conv(w, f"rpn_head.tem.{a}.conv", base, 4), relu=False) for a, b in names]
    start, end = torch.cat(tem, 1)[0]
    extractor, head = "roi_head.proposal_roi_extractor.", "roi_head.proposal_head.head."
    places = {(d, s): (s, s + d) for d in range(6) for s in range(9 - d)}
    reduced = conv(w, extractor + "reduce_dim.0", base)[0]
    found = sampled(w, extractor + "conv3d.0", dense(reduced, places, (6, 9), samples=5, per_sample=2, extension=0.25))
    found = conv(w, extractor + "conv2d.0", found)
    for layer in (0, 1):
        found = conv(w, f"{head}{layer}.0", found)
    classification, regression = conv(w, f"{head}2", found, relu=False)[0]
    return start[None], end[None], regression, classification


def batch_of(x):
    grid = SnippetGrid(stride_s=1.0, window_s=1.0, count=x.shape[-1])
    return Batch(
        streams={"features": x},
        mask=torch.ones(1, 1, x.shape[-1], dtype=torch.bool),
        grids=(grid,),
        durations_s=(float(grid.count),),
        videos=("v",),
    )


def converted(weights, written):
    original = find_original(weights)
    model = Bmn(original.configure(original.complete(weights, written), ("action",)))
    original.load(model, weights)
    return model.eval()


@pytest.mark.parametrize("kind", ["jjboy", "opentad", "opentad, shared"])
def test_outputs_equal_the_slow_network(kind):
    x = torch.randn(1, 12, 9, generator=torch.Generator().manual_seed(3))
    if kind == "jjboy":
        weights = jjboy_weights()
        expected, model = slow_jjboy(weights, x), converted(weights, JJBOY)
    else:
        weights = opentad_weights(shared="shared" in kind)
        expected, model = slow_opentad(weights, x, "shared" in kind), converted(weights, OPENTAD)
    with torch.no_grad():
        found = model(batch_of(x))
    for name, value in zip(("start", "end", "regression", "classification"), expected, strict=True):
        torch.testing.assert_close(
            getattr(found, name)[0],
            value.squeeze(0) if value.dim() == 3 else value.view(getattr(found, name)[0].shape),
            rtol=1e-4,
            atol=1e-5,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def test_both_are_told_apart_by_their_keys():
    assert find_original(jjboy_weights()) is ORIGINALS.load("bmn")
    assert find_original(opentad_weights()) is ORIGINALS.load("bmn_opentad")


@pytest.mark.parametrize("kind", ["jjboy", "opentad"])
def test_every_entry_of_the_checkpoint_is_used(kind):
    weights = jjboy_weights() if kind == "jjboy" else opentad_weights()
    model = converted(weights, JJBOY if kind == "jjboy" else OPENTAD)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for name in weights:
        if name == "sample_mask":
            continue
        find_original(weights).load(model, {**weights, name: weights[name] + 1})
        assert sum(not torch.equal(value, before[key]) for key, value in model.state_dict().items()) == 1, name


def test_other_weights_are_refused():
    weights = jjboy_weights()
    model = converted(weights, JJBOY)
    with pytest.raises(PackageError, match=r"missing: boundaries\.score\.0\.bias"):
        ORIGINALS.load("bmn").load(model, {name: value for name, value in weights.items() if name != "x_1d_s.2.bias"})


def test_published_sizes_convert(tmp_path):
    """Checkpoints of the published configurations, with random weights, as both programs save them."""
    weights = jjboy_weights(snippets=100, features=400, one=256, two=128, three=512, samples=32)
    checkpoint = {"epoch": 8, "state_dict": {f"module.{name}": value for name, value in weights.items()}}
    torch.save(checkpoint, tmp_path / "BMN_best.pth.tar")
    words = ["convert", str(tmp_path / "BMN_best.pth.tar"), "--out", str(tmp_path / "first")]
    assert main(words) == 0
    first = load_model(tmp_path / "first")
    assert first.model.config.train_snippets == 100
    assert first.layouts["features"].resampled_to == 100
    assert sum(each.numel() for each in first.model.parameters()) == sum(
        value.numel() for name, value in weights.items() if name != "sample_mask"
    )
    torch.testing.assert_close(first.model.segments.sampled.weight, weights["x_3d_p.0.weight"][..., 0, 0])

    weights = opentad_weights(features=400, width=256, sampled=512, reduced=128, out=128, samples=32)
    torch.save({"state_dict_ema": {}, "state_dict": weights}, tmp_path / "epoch_7.pth")
    words = ["convert", str(tmp_path / "epoch_7.pth"), "--out", str(tmp_path / "second"), "--fps", "25"]
    assert main([*words, "--stride-frames", "16", "--window-frames", "16"]) == 0
    second = load_model(tmp_path / "second").model
    assert (second.config.train_snippets, second.config.durations, second.config.reduced_width) == (128, 128, 128)
    last = weights["roi_head.proposal_head.head.2.weight"]
    torch.testing.assert_close(second.segments.score.weight, last.flip(0))
