"""Queries small enough to train on in a test: a concept per query, seen in the features of what answers it."""

import json

import numpy as np

CLIP_S, CONCEPTS = 2.0, 3
LAYOUT = {"stride_frames": 2, "window_frames": 2, "fps": 1}
WIDTHS = {"slow": 6, "clip": 5}


def write_queries(folder, *, train=96, validation=24, seed=0, saliency=True, dtype=np.float32):
    """Write train.jsonl, validation.jsonl, features/STREAM/VID.npz and text/qidN.npz, in QVHighlights' forms."""
    rng = np.random.default_rng(seed)
    signs = {name: rng.normal(0, 1, (CONCEPTS, width)) for name, width in WIDTHS.items()}
    words = rng.normal(0, 1, (CONCEPTS, 8))
    for name in (*WIDTHS, "text"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    qid = 0
    for split, count in (("train", train), ("validation", validation)):
        rows = []
        for _ in range(count):
            vid, clips = f"v{qid}_60.0_210.0", int(rng.integers(18, 26))
            concept, other = rng.permutation(CONCEPTS)[:2]
            length = int(rng.integers(4, 8))
            begin = int(rng.integers(0, clips - length + 1))
            elsewhere = begin + length + 1 if begin < clips // 2 else max(begin - 6, 0)
            inside = np.arange(begin, begin + length)
            for name, width in WIDTHS.items():
                x = rng.normal(0, 0.2, (clips, width))
                x[inside] += 2 * signs[name][concept]
                x[elsewhere : min(elsewhere + 5, clips)] += 2 * signs[name][other]
                np.savez(folder / name / f"{vid}.npz", features=x.astype(dtype))
            tokens = rng.normal(0, 0.2, (int(rng.integers(3, 6)), 8)) + words[concept]
            np.savez(folder / "text" / f"qid{qid}.npz", last_hidden_state=tokens.astype(np.float16))
            row = {"qid": qid, "query": f"somebody does number {concept}", "vid": vid, "duration": clips * CLIP_S}
            row["relevant_windows"] = [[float(begin * CLIP_S), float((begin + length) * CLIP_S)]]
            if saliency:
                row["relevant_clip_ids"] = inside.tolist()
                row["saliency_scores"] = rng.integers(2, 5, (length, 3)).tolist()
            rows.append(row)
            qid += 1
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def query_recipe(folder, method="moment_detr", model=None, **trainer):
    """A tiny recipe over `write_queries`' folder."""
    small = {
        "width": 32,
        "heads": 4,
        "hidden": 48,
        "train_snippets": 40,
        "queries": 5,
        "input_dropout": 0.0,
        "dropout": 0.0,
    }
    return {
        "method": method,
        "model": {**small, **(model or {})},
        "data": {
            "annotations": str(folder / "train.jsonl"),
            "features": {
                name: {"folder": str(folder / name), "layout": {**LAYOUT, "key": "features"}} for name in WIDTHS
            },
            "queries": {"text": str(folder / "text"), "validation": str(folder / "validation.jsonl")},
            "protocol": "qvhighlights",
        },
        "optim": {
            "lr": 3e-3,
            "schedule": "constant",
            "weight_decay": 1e-4,
            "decayed": "all",
            "warmup_epochs": 0,
            "batch_size": 16,
            "clip_norm": 1.0,
            "ema_decay": 0,
        },
        "trainer": {"accelerator": "cpu", "max_epochs": 20, "validate_every": 20, **trainer},
    }
