"""Moment-DETR's checkpoints: options in the file or beside it, names of weights, what is refused."""

import json
from argparse import Namespace

import numpy as np
import pytest
import torch

from tal.cli import main
from tal.errors import ConfigError, PackageError
from tal.methods.moment_detr import MomentDetr
from tal.methods.originals import ORIGINALS
from tal.package import load_model

ORIGINAL = ORIGINALS.load("moment_detr")
OPTIONS = {
    "hidden_dim": 16,
    "nheads": 2,
    "dim_feedforward": 24,
    "enc_layers": 1,
    "dec_layers": 2,
    "num_queries": 4,
    "v_feat_dirs": ["features/slowfast_features", "features/clip_features"],
    "v_feat_dim": 2304 + 512 + 2,
    "t_feat_dim": 6,
    "nms_thd": -1,
}


def _names(options):
    """Names in the original's state dict."""
    pairs, norms = ("weight", "bias"), {"encoder": 2, "decoder": 3}
    for part, layers in (("encoder", options["enc_layers"]), ("decoder", options["dec_layers"])):
        for layer in range(layers):
            start = f"transformer.{part}.layers.{layer}."
            for attention in ("self_attn", "multihead_attn")[: norms[part] - 1]:
                yield from (f"{start}{attention}.{name}" for name in ("in_proj_weight", "in_proj_bias"))
                yield from (f"{start}{attention}.out_proj.{kind}" for kind in pairs)
            inner = ("linear1", "linear2", *(f"norm{i + 1}" for i in range(norms[part])))
            yield from (f"{start}{name}.{kind}" for name in inner for kind in pairs)
    ends = ["transformer.decoder.norm", "class_embed", "saliency_proj", "txt_position_embed.LayerNorm"]
    ends += [f"span_embed.layers.{layer}" for layer in range(3)]
    ends += [
        f"input_{kind}_proj.{i}.{name}" for kind in ("vid", "txt") for i in (0, 1) for name in ("LayerNorm", "net.1")
    ]
    if options.get("pre_norm"):
        ends.append("transformer.encoder.norm")
    if options.get("contrastive_align_loss"):
        ends += [f"contrastive_align_projection_{name}" for name in ("query", "txt", "vid")]
    yield from (f"{name}.{kind}" for name in ends for kind in pairs)
    yield from ("query_embed.weight", "txt_position_embed.position_embeddings.weight")


def _checkpoint(options):
    """A model of ours, and its weights as the original would save them."""
    model = MomentDetr(ORIGINAL.configure(ORIGINAL.settings({"opt": options}), ()))
    ours = model.state_dict()
    weights = {}
    for name in _names(options):
        translated = ORIGINAL.translate(name)[0]
        assert translated, name
        spare = name.startswith("txt_position_embed") and not options.get("use_txt_pos")
        weights[name] = torch.zeros(16) if spare else ours[translated]
    assert {ORIGINAL.translate(name)[0] for name in weights} >= set(ours)
    return model, {
        "model": weights,
        "optimizer": {"state": {}},
        "epoch": 9,
        "opt": Namespace(**options, device=torch.device("cpu")),
    }


@pytest.mark.parametrize(
    "changes",
    [{}, {"pre_norm": True}, {"use_txt_pos": True}, {"contrastive_align_loss": True, "contrastive_hdim": 8}],
    ids=["as released", "pre-norm", "positions of tokens", "alignment"],
)
def test_converted_checkpoint_is_the_model(changes, tmp_path):
    model, checkpoint = _checkpoint(OPTIONS | changes)
    torch.save(checkpoint, tmp_path / "model_best.ckpt")
    assert main(["convert", str(tmp_path / "model_best.ckpt"), "--out", str(tmp_path / "model")]) == 0
    package = load_model(tmp_path / "model")
    assert package.method == "moment_detr"
    assert package.model.inputs.streams == {"slowfast": 2304, "clip": 512}
    assert package.text.width == 6
    assert package.layouts["clip"].stride_frames == 2
    assert "moments that answer queries" in package.card
    assert package.model.config == model.config
    for name, value in model.state_dict().items():
        torch.testing.assert_close(package.model.state_dict()[name], value, rtol=0, atol=0)


def test_options_beside_the_checkpoint(tmp_path):
    model, checkpoint = _checkpoint(OPTIONS | {"saliency_margin": 0.4})
    del checkpoint["opt"]
    torch.save(checkpoint, tmp_path / "model_best.ckpt")
    beside = OPTIONS | {"saliency_margin": 0.4, "v_feat_dim": 2816, "device": 0}  # written before the endpoints count
    (tmp_path / "opt.json").write_text(json.dumps(beside))
    words = ["convert", str(tmp_path / "model_best.ckpt"), "--config", str(tmp_path / "opt.json")]
    assert main([*words, "--out", str(tmp_path / "model")]) == 0
    assert load_model(tmp_path / "model").model.config == model.config


def test_defaults_are_the_originals():
    config = ORIGINAL.configure(ORIGINAL.settings({"opt": {"v_feat_dim": 514, "t_feat_dim": 512}}), ())
    assert config.streams == {"features": 512}
    assert (config.width, config.heads, config.hidden, config.queries) == (256, 8, 1024, 10)
    assert (config.dropout, config.input_dropout, config.input_layers) == (0.1, 0.5, 2)
    assert (config.span_loss, config.alignment, config.nms_tiou) == ("l1", False, None)
    assert (config.match.span, config.match.giou, config.match.label) == (10, 1, 4)


def test_widths_of_unknown_folders_are_what_the_others_leave():
    settings = ORIGINAL.settings(
        {"opt": {"v_feat_dirs": ["a/clip_features", "b/other"], "v_feat_dim": 520, "t_feat_dim": 4}}
    )
    assert ORIGINAL.configure(settings, ()).streams == {"clip": 512, "other": 6}
    settings = ORIGINAL.settings({"opt": {"v_feat_dirs": ["a/x", "b/y"], "v_feat_dim": 520, "t_feat_dim": 4}})
    with pytest.raises(ConfigError, match="x, y with 518 channels"):
        ORIGINAL.configure(settings, ())


def test_weights_of_other_sizes_are_refused(tmp_path):
    _, checkpoint = _checkpoint(OPTIONS)
    checkpoint["opt"].dec_layers = 3
    torch.save(checkpoint, tmp_path / "model_best.ckpt")
    model = MomentDetr(ORIGINAL.configure(ORIGINAL.settings({"opt": vars(checkpoint["opt"])}), ()))
    with pytest.raises(PackageError, match="missing"):
        ORIGINAL.load(model, checkpoint["model"])


def test_objects_are_not_unpickled(tmp_path):
    class Odd:
        def __reduce__(self):
            return (np.save, (str(tmp_path / "harm.npy"), 1))

    _, checkpoint = _checkpoint(OPTIONS)
    checkpoint["opt"] = Namespace(odd=Odd())
    torch.save(checkpoint, tmp_path / "model_best.ckpt")
    assert main(["convert", str(tmp_path / "model_best.ckpt"), "--out", str(tmp_path / "model")]) == 2
    assert not (tmp_path / "harm.npy").exists()
