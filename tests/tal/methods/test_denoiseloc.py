"""DenoiseLoc on queries: switches, losses, the original's checkpoints at their published size."""

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tal.annotations.moment_results import Query
from tal.cli import main
from tal.errors import ConfigError, PackageError
from tal.methods.base import Sample
from tal.methods.batching import collate
from tal.methods.denoiseloc import DenoiseLoc, DenoiseLocConfig
from tal.methods.originals import find_original
from tal.methods.originals.denoiseloc import ORIGINAL
from tal.modules.refinement import RefinementConfig
from tal.ops.spans import to_ends
from tal.package import load_model
from tal.segments import Segments
from tal.timeline import SnippetGrid

CASE = Path(__file__).parents[3] / "../shared/cases/parity/denoiseloc_small"
SMALL = {
    "streams": {"slow": 5, "clip": 3},
    "text_width": 4,
    "train_snippets": 20,
    "width": 16,
    "heads": 4,
    "hidden": 24,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "queries": 5,
    "dropout": 0.0,
    "input_dropout": 0.0,
}
REFINEMENT = RefinementConfig(bins=5, dynamic_width=4)


def _model(*, refinement=None, **changes):
    torch.manual_seed(0)
    how = replace(REFINEMENT, **(refinement or {}))
    return DenoiseLoc(DenoiseLocConfig(**{**SMALL, "refinement": how, **changes}))


def _batch(model, counts=(20, 12), *, tokens=(4, 6), train=True):
    samples = []
    for row, (count, words) in enumerate(zip(counts, tokens, strict=True)):
        rng = np.random.default_rng((row, count))
        grid = SnippetGrid(stride_s=2, window_s=2, count=count)
        start = rng.uniform(0, count, 2)
        samples.append(
            Sample(
                video=f"v{row}",
                streams={
                    name: torch.from_numpy(rng.normal(size=(count, width))).float()
                    for name, width in model.inputs.streams.items()
                },
                grid=grid,
                duration_s=grid.end_s,
                instances=Segments(start_s=start, end_s=np.minimum(start + 6, grid.end_s)),
                query=Query(qid=str(row), video=f"v{row}", text="what"),
                text=torch.from_numpy(rng.normal(size=(words, 4))).float(),
                saliency_pairs=torch.tensor([[1, 3], [2, 4]]),
            )
        )
    return collate(samples, model.inputs, train=train)


SWITCHES = [
    {},
    {"refinement": {"attention": False}},
    {"refinement": {"dynamic_conv": False}},
    {"refinement": {"denoise": False, "first_spans": "learned"}},
    {"pre_norm": True, "text_positions": True, "input_layers": 3},
    {"rois_see_text": False, "wavelengths": "geometric"},
    {"auxiliary": False, "input_layers": 1},
]


@pytest.mark.parametrize("switches", SWITCHES)
def test_every_switch_trains_all_parameters(switches):
    model = _model(**switches).train()
    batch = _batch(model)
    losses = model.loss(model(batch), batch)
    names = {"loss", "span", "giou", "label", "label_error", "saliency"}
    earlier = {f"{name}_0" for name in ("span", "giou", "label", "label_error")}
    assert set(losses) == names | (earlier if switches.get("auxiliary", True) else set())
    losses["loss"].backward()
    without = {name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()}
    without -= {"saliency.bias"}  # its losses are of differences
    if not model.config.auxiliary:  # what an earlier head says of classes is not looked at
        without -= {name for name in without if "layers.0.class_tower" in name or "layers.0.logits" in name}
        without -= {name for name in without if "layers.0.span_tower" in name or "layers.0.deltas" in name}
    assert not without


def test_only_what_switches_use_is_built():
    def parts(**refinement):
        return {name.split(".")[3] for name in _model(refinement=refinement).state_dict() if "refine.layers." in name}

    assert {"attention", "interact"} <= parts()
    assert "join" not in parts()
    assert "attention" not in parts(attention=False)
    assert "interact" not in parts(dynamic_conv=False)
    assert "refine.first.learned" in _model(refinement={"denoise": False, "first_spans": "learned"}).state_dict()


def test_spans_past_the_video_see_text_or_the_last_snippet():
    past = torch.tensor([[[1.02, 0.1], [0.5, 0.5], [1.05, 0.1], [0.2, 0.1], [0.9, 0.4]]])
    for sees in (True, False):
        model = _model(rois_see_text=sees, encoder_layers=1).eval()
        batch = _batch(model, counts=(12,), tokens=(4,), train=False)
        seen = []
        model.refine.layers[0].interact.register_forward_pre_hook(lambda _, found, seen=seen: seen.append(found[1]))
        memory = model.predicted(batch, past).memory
        _, end = (to_ends(past) * 12)[0, 2].tolist()
        last_bin = seen[0].unflatten(0, (1, 5))[0, 2, -1]
        place = end - (end - 12.0) / 5 / 2
        if sees:
            low = int(place)
            expected = (1 - (place - low)) * memory[0, low] + (place - low) * memory[0, low + 1]
            torch.testing.assert_close(last_bin, expected, atol=1e-5, rtol=1e-4)
        else:
            assert not last_bin.any()


def test_results_depend_on_the_batch_only_as_the_original_does():
    for sees in (True, False):
        model = _model(rois_see_text=sees).eval()
        together = model(_batch(model, counts=(20, 12), train=False))
        samples = _batch(model, counts=(20, 12), train=False)
        alone = replace(
            samples,
            streams={name: x[1:, :, :12] for name, x in samples.streams.items()},
            mask=samples.mask[1:, :, :12],
            grids=samples.grids[1:],
            durations_s=samples.durations_s[1:],
            videos=samples.videos[1:],
            queries=samples.queries[1:],
            text=samples.text[1:],
            text_mask=samples.text_mask[1:],
        )
        same = torch.allclose(together.spans[-1][1:], model(alone).spans[-1], atol=1e-5)
        assert same is not sees


def test_training_begins_with_noise_that_the_seed_decides():
    model = _model().train()
    batch = _batch(model)
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        runs.append(model(batch).spans[0])
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2])
    model.eval()
    assert torch.equal(model(batch).spans[0], model(replace(batch, targets=None)).spans[0])


def test_answers():
    model = _model(nms_tiou=None).eval()
    answers = model.predict(_batch(model, train=False))
    for answer, grid in zip(answers, (20, 12), strict=True):
        assert len(answer) == 5
        assert (np.diff(answer.score) <= 0).all()
        assert (answer.start_s >= 0).all()
        assert (answer.end_s <= 2 * grid).all()
        assert answer.saliency.shape == (grid,)


def _shapes(opt, widths):
    """Name -> shape of every entry that the original saves with these options; features' and text's widths."""
    hidden, inner, queries = opt["hidden_dim"], opt["dim_feedforward"], opt["num_queries"]
    dynamic = opt["dim_dynamic"]
    shapes = {}

    def linear(name, before, after, bias=True):
        shapes[f"{name}.weight"] = (after, before)
        if bias:
            shapes[f"{name}.bias"] = (after,)

    def norm(name, width):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    def attention(name):
        shapes[f"{name}.in_proj_weight"], shapes[f"{name}.in_proj_bias"] = (3 * hidden, hidden), (3 * hidden,)
        linear(f"{name}.out_proj", hidden, hidden)

    def feed_forward(name, norms):
        linear(f"{name}.linear1", hidden, inner)
        linear(f"{name}.linear2", inner, hidden)
        for number in range(norms):
            norm(f"{name}.norm{number + 1}", hidden)

    for layer in range(opt["enc_layers"]):
        attention(f"backbone.layers.{layer}.self_attn")
        feed_forward(f"backbone.layers.{layer}", 2)
    if opt["pre_norm"]:
        norm("backbone.norm", hidden)
    for layer in range(opt["dec_layers"]):
        head = f"head.head_series.{layer}"
        attention(f"{head}.self_attn")
        feed_forward(head, 3)
        linear(f"{head}.inst_interact.dynamic_layer", hidden, 2 * hidden * dynamic)
        linear(f"{head}.inst_interact.out_layer", 14 * hidden, hidden)
        for number, width in enumerate((dynamic, hidden, hidden)):
            norm(f"{head}.inst_interact.norm{number + 1}", width)
        linear(f"{head}.linear_align", 2 * hidden, hidden)
        for tower, layers in (("cls_module", 1), ("reg_module", 3)):
            for place in range(layers):
                linear(f"{head}.{tower}.{3 * place}", hidden, hidden, bias=False)
                norm(f"{head}.{tower}.{3 * place + 1}", hidden)
        linear(f"{head}.class_logits", hidden, 2)
        linear(f"{head}.bboxes_delta", hidden, 2)
    for name, width in zip(("vid", "txt"), widths, strict=True):
        for layer in range(opt["n_input_proj"]):
            norm(f"input_{name}_proj.{layer}.LayerNorm", hidden if layer else width)
            linear(f"input_{name}_proj.{layer}.net.1", hidden if layer else width, hidden)
    linear("saliency_proj", hidden, 1)
    shapes["query_embed.weight"] = shapes["init_proposal_features.weight"] = (queries, hidden)
    shapes["txt_position_embed.position_embeddings.weight"] = (opt["max_q_l"], hidden)
    norm("txt_position_embed.LayerNorm", hidden)
    if opt["use_sparse_rcnn"]:
        return shapes | {"init_proposal_boxes.weight": (queries, 2)}
    names = ["betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"]
    names += ["log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod"]
    return shapes | dict.fromkeys(names, (1000,))


RELEASED = ORIGINAL.settings({})["opt"] | {
    "v_feat_dirs": ["features/slowfast_features", "features/clip_features"],
    "v_feat_dim": 2304 + 512 + 2,
    "t_feat_dim": 512,
    "use_sparse_rcnn": 0,
}
WIDTHS = (2818, 512)


@pytest.mark.skipif(not CASE.with_suffix(".json").exists(), reason="the parity cases are not here")
def test_the_layout_here_is_the_originals():
    facts = json.loads(CASE.with_suffix(".json").read_text())
    opt = ORIGINAL.settings({"opt": facts["settings"]})["opt"] | {"dim_dynamic": facts["dim_dynamic"]}
    with safe_open(CASE.with_suffix(".weights.safetensors"), "pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert found == _shapes(opt, (facts["settings"]["v_feat_dim"], facts["settings"]["t_feat_dim"]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_sparse_rcnn": 1},
        {"use_dynamic_conv": 0},
        {"use_attention": 0, "num_queries": 32},
        {"pre_norm": True, "use_txt_pos": True, "n_input_proj": 3},
        {"dec_layers": 1, "snr_scale": 0.1},
    ],
)
def test_weights_of_the_published_size_fit(changes):
    opt = RELEASED | changes
    weights = {name: torch.empty(shape, device="meta") for name, shape in _shapes(opt, WIDTHS).items()}
    assert find_original(weights) is ORIGINAL
    settings = ORIGINAL.complete(weights, {"opt": opt})
    with torch.device("meta"):
        model = DenoiseLoc(ORIGINAL.configure(settings, ()))
    ORIGINAL.load(model, weights)
    assert model.config.streams == {"slowfast": 2304, "clip": 512}
    how = model.config.refinement
    assert (how.bins, how.dynamic_width, how.snr_scale) == (14, 64, opt["snr_scale"])
    assert how.denoise is not bool(opt["use_sparse_rcnn"])
    assert how.batch_order is not (bool(opt["use_attention"]) and bool(opt["use_dynamic_conv"]))
    with pytest.raises(PackageError, match="missing"):
        ORIGINAL.load(model, {name: value for name, value in weights.items() if "bboxes_delta" not in name})


def test_sizes_are_told_by_the_weights_alone():
    opt = RELEASED | {"dec_layers": 4, "num_queries": 10, "use_sparse_rcnn": 1, "dim_feedforward": 512}
    weights = {name: torch.empty(shape, device="meta") for name, shape in _shapes(opt, WIDTHS).items()}
    config = ORIGINAL.configure(ORIGINAL.complete(weights, {}), ())
    assert (config.encoder_layers, config.decoder_layers, config.queries, config.hidden) == (8, 4, 10, 512)
    assert (config.streams, config.text_width) == ({"features": 2816}, 512)
    assert config.refinement.first_spans == "learned"


def _converted(opt, widths, folder):
    """A checkpoint of random weights with these options, through `tal convert`."""
    torch.manual_seed(0)
    weights = {name: torch.randn(shape) * 0.05 for name, shape in _shapes(opt, widths).items()}
    kept = {name: value for name, value in opt.items() if name != "video_width"}
    options = Namespace(**kept, device=torch.device("cpu"))
    torch.save({"model": weights, "optimizer": {}, "epoch": 3, "opt": options}, folder / "model_best.ckpt")
    assert main(["convert", str(folder / "model_best.ckpt"), "--out", str(folder / "model")]) == 0
    return weights, load_model(folder / "model")


def _check_converted(weights, package):
    assert package.method == "denoiseloc"
    ours, filled = package.model.state_dict(), set()
    for name, value in weights.items():
        translated, _ = ORIGINAL.translate(name)
        if translated in ours:
            torch.testing.assert_close(ours[translated], value.view_as(ours[translated]), rtol=0, atol=0)
            filled.add(translated)
    assert filled == set(ours)
    assert "moments that answer queries" in package.card
    model = package.model
    batch = _batch(model, counts=(9, 12), train=False) if model.inputs.text == 4 else None
    if batch is not None:
        assert all(len(answer) for answer in model.predict(batch))


def test_a_checkpoint_becomes_a_package(tmp_path):
    small = {"hidden_dim": 16, "nheads": 4, "dim_feedforward": 24, "enc_layers": 1, "dec_layers": 2, "num_queries": 5}
    opt = RELEASED | small | {"dim_dynamic": 4, "t_feat_dim": 4}
    weights, package = _converted(opt, (2818, 4), tmp_path)
    _check_converted(weights, package)
    assert package.text.width == 4


@pytest.mark.full
def test_a_checkpoint_of_the_published_size_becomes_a_package(tmp_path):
    weights, package = _converted(RELEASED, WIDTHS, tmp_path)
    _check_converted(weights, package)
    assert sum(each.numel() for each in package.model.parameters()) > 80e6


def test_refuses_settings_that_cannot_be():
    with pytest.raises(ConfigError, match="learned with denoise"):
        _model(refinement={"first_spans": "learned"})
    with pytest.raises(ConfigError, match="bins of 0"):
        RefinementConfig(bins=0)
    with pytest.raises(ConfigError, match="snr_scale of -1"):
        _model(refinement={"snr_scale": -1.0})
    with pytest.raises(ConfigError, match="span_loss_type"):
        ORIGINAL.configure(ORIGINAL.settings({"opt": {**RELEASED, "span_loss_type": "ce"}}), ())
