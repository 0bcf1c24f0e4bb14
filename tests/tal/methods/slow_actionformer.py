"""ActionFormer written out on a flat dict of weights with the original's names: one video, dense attention, loops."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def layout(settings):
    """Name -> shape of all weights that the original's checkpoint has for these settings (see the layout notes)."""
    data, model = settings["dataset"], settings["model"]
    several = isinstance(data["input_dim"], list)
    width = sum(model["embd_dim"]) if several else model["embd_dim"]
    embed, stem, branch = model["backbone_arch"]
    windows = model["n_mha_win_size"]
    windows = [windows] * (branch + 1) if isinstance(windows, int) else windows
    shapes = {}

    def norm(name, channels):
        shapes.update({f"{name}.weight": (1, channels, 1), f"{name}.bias": (1, channels, 1)})

    def conv(name, before, after, kernel, bias=True):
        shapes[f"{name}.weight"] = (after, before, kernel)
        if bias:
            shapes[f"{name}.bias"] = (after,)

    if several:
        for index, (before, after) in enumerate(zip(data["input_dim"], model["embd_dim"], strict=True)):
            conv(f"backbone.proj.{index}.conv", before, after, 1)
    for index in range(embed):
        before = width if several or index else data["input_dim"]
        conv(f"backbone.embd.{index}.conv", before, width, 3, bias=False)
        norm(f"backbone.embd_norm.{index}", width)
    blocks = [(f"backbone.stem.{i}", windows[0]) for i in range(stem)]
    blocks += [(f"backbone.branch.{i}", windows[i + 1]) for i in range(branch)]
    for block, window in blocks:
        for part in ("ln1", "ln2", "attn.query_norm", "attn.key_norm", "attn.value_norm"):
            norm(f"{block}.{part}", width)
        for part in ("query", "key", "value"):
            conv(f"{block}.attn.{part}_conv.conv", 1, width, 3, bias=False)
        for part in ("query", "key", "value", "proj"):
            conv(f"{block}.attn.{part}", width, width, 1)
        conv(f"{block}.mlp.0", width, 4 * width, 1)
        conv(f"{block}.mlp.3", 4 * width, width, 1)
        if settings["train_cfg"]["droppath"] > 0:
            shapes.update({f"{block}.drop_path_{part}.scale": (1, width, 1) for part in ("attn", "mlp")})
        if model.get("use_rel_pe") and window > 1:
            shapes[f"{block}.attn.rel_pe"] = (1, 1, model["n_head"], window)
    for level in range(branch + 1):
        norm(f"neck.fpn_norms.{level}", model["fpn_dim"])
        if model["fpn_type"] == "fpn":
            conv(f"neck.lateral_convs.{level}.conv", width, model["fpn_dim"], 1, bias=False)
            conv(f"neck.fpn_convs.{level}.conv", 1, model["fpn_dim"], 3, bias=False)
        shapes[f"reg_head.scale.{level}.scale"] = ()
    for head in ("cls_head", "reg_head"):
        conv(f"{head}.head.0.conv", model["fpn_dim"], model["head_dim"], 3, bias=False)
        conv(f"{head}.head.1.conv", model["head_dim"], model["head_dim"], 3, bias=False)
        norm(f"{head}.norm.0", model["head_dim"])
        norm(f"{head}.norm.1", model["head_dim"])
    conv("cls_head.cls_head.conv", model["head_dim"], data["num_classes"], 3)
    conv("reg_head.offset_head.conv", model["head_dim"], 2, 3)
    return shapes


def random_weights(settings, *, seed=0):
    """A checkpoint's weights, of sizes at which all of the network is at work."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in layout(settings).items()}
    for name, value in weights.items():
        if name.endswith("weight") and "norm" not in name and ".ln" not in name:
            value /= math.sqrt(value[0].numel())
        elif not name.endswith("bias") or "norm" in name:
            value.mul_(0.2).add_(0.0 if name.endswith(("bias", "rel_pe")) else 1.0)
    return weights


def slow_network(weights, settings, features, padded):
    """Per level logits (K, T_l) and offsets (2, T_l) of one video (C, T), padded with zeros to `padded`."""
    model = settings["model"]
    embed, stem, branch = model["backbone_arch"]
    windows = model["n_mha_win_size"]
    windows = [windows] * (branch + 1) if isinstance(windows, int) else windows
    w = _Named(weights)
    mask = torch.arange(padded) < features.shape[1]
    x = F.pad(features, (0, padded - features.shape[1]))

    if isinstance(settings["dataset"]["input_dim"], list):
        parts = x.split(settings["dataset"]["input_dim"])
        x = torch.cat([w.conv(f"backbone.proj.{i}.conv", part) * mask for i, part in enumerate(parts)])
    for i in range(embed):
        x = w.norm(f"backbone.embd_norm.{i}", w.conv(f"backbone.embd.{i}.conv", x) * mask).relu()
    if model["use_abs_pe"]:
        x = x + _positions(len(x), settings["dataset"]["max_seq_len"], padded) * mask

    for i in range(stem):
        x, mask = _block(w, f"backbone.stem.{i}", x, mask, 1, windows[0], model)
    levels, masks = [x], [mask]
    for i in range(branch):
        x, mask = _block(w, f"backbone.branch.{i}", x, mask, 2, windows[i + 1], model)
        levels.append(x)
        masks.append(mask)

    if model["fpn_type"] == "fpn":
        levels = [
            w.conv(f"neck.lateral_convs.{i}.conv", x) * m for i, (x, m) in enumerate(zip(levels, masks, strict=True))
        ]
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + levels[i].repeat_interleave(2, dim=1)
        levels = [w.conv(f"neck.fpn_convs.{i}.conv", x) * m for i, (x, m) in enumerate(zip(levels, masks, strict=True))]
    levels = [w.norm(f"neck.fpn_norms.{i}", x) for i, x in enumerate(levels)]

    logits, offsets = [], []
    for i, (x, m) in enumerate(zip(levels, masks, strict=True)):
        logits.append(w.conv("cls_head.cls_head.conv", _trunk(w, "cls_head", x, m)) * m)
        raw = w.conv("reg_head.offset_head.conv", _trunk(w, "reg_head", x, m)) * m
        offsets.append((raw * weights[f"reg_head.scale.{i}.scale"]).relu())
    return logits, offsets, masks


class _Named:
    def __init__(self, weights):
        self.weights = weights

    def conv(self, name, x, stride=1):
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        groups = len(x) // weight.shape[1]
        return F.conv1d(x[None], weight, bias, stride=stride, padding=weight.shape[2] // 2, groups=groups)[0]

    def norm(self, name, x):
        x = x - x.mean(0)
        x = x / (x.square().mean(0) + 1e-5).sqrt()
        return x * self.weights[f"{name}.weight"][0] + self.weights[f"{name}.bias"][0]


def _trunk(w, head, x, mask):
    for i in range(2):
        x = w.norm(f"{head}.norm.{i}", w.conv(f"{head}.head.{i}.conv", x) * mask).relu()
    return x


def _positions(width, length, padded):
    table = np.zeros((width, length))
    for channel in range(width):
        for position in range(length):
            angle = position / 10000 ** (2 * (channel // 2) / width)
            table[channel, position] = math.sin(angle) if channel % 2 == 0 else math.cos(angle)
    table = torch.tensor(table, dtype=torch.float32) / math.sqrt(width)
    if padded >= length:
        table = F.interpolate(table[None], padded, mode="linear", align_corners=False)[0]
    return table[:, :padded]


def _block(w, name, x, mask, stride, window, model):
    new_mask = mask[::stride]
    attended = _attention(w, f"{name}.attn", w.norm(f"{name}.ln1", x), new_mask, stride, window, model["n_head"])
    skip = F.max_pool1d(x[None], 3, 2, 1)[0] if stride == 2 else x
    x = skip * new_mask + attended * _scale(w, f"{name}.drop_path_attn.scale")
    hidden = F.gelu(w.conv(f"{name}.mlp.0", w.norm(f"{name}.ln2", x)))
    return x + w.conv(f"{name}.mlp.3", hidden) * new_mask * _scale(w, f"{name}.drop_path_mlp.scale"), new_mask


def _scale(w, name):
    return w.weights[name][0] if name in w.weights else 1.0


def _attention(w, name, x, mask, stride, window, heads):
    q, k, v = (
        w.conv(f"{name}.{part}", w.norm(f"{name}.{part}_norm", w.conv(f"{name}.{part}_conv.conv", x, stride) * mask))
        for part in ("query", "key", "value")
    )
    T, width = q.shape[1], len(q) // heads
    out = torch.zeros_like(q)
    for head in range(heads):
        rows = slice(head * width, (head + 1) * width)
        scores = q[rows].T @ k[rows] / math.sqrt(width)  # (T, T)
        if window > 1:
            distance = torch.arange(T) - torch.arange(T)[:, None]
            if f"{name}.rel_pe" in w.weights:
                bias = w.weights[f"{name}.rel_pe"][0, 0, head]
                scores = scores + bias[(distance + window // 2).clamp(0, window - 1)]
            scores = scores + torch.where(mask, 0.0, -1e4)
            scores = scores.masked_fill(distance.abs() > window // 2, -math.inf)
        else:
            scores = scores.masked_fill(~mask, -math.inf)
        out[rows] = (scores.softmax(-1) @ v[rows].T).T
    return w.conv(f"{name}.proj", out) * mask
