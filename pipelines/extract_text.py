"""`tal extract --text`: the queries of annotations to token features, for methods that answer sentences."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tal.annotations.queries import read_queries
from tal.console import track
from tal.errors import FeatureError
from tal.features.text import SPEC, TextFolder, read_text_spec, write_text_spec, write_tokens

if TYPE_CHECKING:
    from tal.annotations.moment_results import Query
    from tal.backbones.text import TextEncoder
    from tal.features.base import FeatureSpec

_AT_ONCE = 64


def extract_text(
    *,
    text: list[Path],
    backbone: str,
    out: Path,
    weights: str | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    dtype: Literal["float16", "float32"] = "float16",
) -> int:
    """Make a vector for every token of every query, a file per query.

    May be stopped at any time and run again: what is there is not made twice. Queries without an id have their file
    named by their text.

    Args:
        text: Annotation files with sentences, or JSON lines with qid, query and vid.
        backbone: open_clip:MODEL/PRETRAINED, whose text tower is taken.
        out: Folder of the features; gets qidID.npz with last_hidden_state, as Moment-DETR's authors publish them.
        weights: A local file in place of the published weights, or random (to try things out).
        device: Where the network runs; auto takes a GPU if there is one.
        dtype: Of the features on disk.
    """
    queries = list({each.query: None for path in text for each in read_queries(path)})
    from tal.backbones.text import load_text_encoder
    from tal.device import choose_device

    encoder = load_text_encoder(backbone, weights=weights, device=str(choose_device(device)))
    _open(out, text_spec(encoder, dtype=dtype))
    folder = TextFolder(out)
    wanted = [query for query in queries if not folder.has(query)]
    for first in track(range(0, len(wanted), _AT_ONCE), "queries"):
        part = wanted[first : first + _AT_ONCE]
        for query, tokens in zip(part, encoder.encode_tokens([each.text for each in part]), strict=True):
            write_tokens(out, query, tokens.numpy().astype(dtype))
    _check(folder, [query for query in queries if query not in set(wanted)])
    print(f"{out}: {len(wanted)} queries done, {len(queries) - len(wanted)} were there before")
    return 0


def text_spec(encoder: TextEncoder, *, dtype: str = "float16") -> FeatureSpec:
    """What makes the token features of a text tower."""
    from tal.features.base import FeatureSpec

    given = asdict(encoder.spec)
    return FeatureSpec(
        backbone=given["name"],
        weights=given["weights"],
        weights_hash=given["weights_hash"],
        width=encoder.encode_tokens(["a"])[0].shape[1],
        transform={"text": "tokens", "context": given["context"]},
        dtype=dtype,
    )


def _open(out: Path, spec: FeatureSpec) -> None:
    """Begin the folder, or refuse one of other features."""
    if not (out / SPEC).is_file():
        if out.is_dir() and any(out.iterdir()):
            raise FeatureError(f"{out} holds something else", expected="an empty folder, or one of text features")
        out.mkdir(parents=True, exist_ok=True)
        write_text_spec(out / SPEC, spec)
    differences = read_text_spec(out / SPEC).differences(spec)
    if differences:
        told = "; ".join(f"{name}: {old!r}, now {new!r}" for name, (old, new) in differences.items())
        raise FeatureError(f"{out} holds text features of another kind: {told}", todo="choose another folder")


def _check(folder: TextFolder, queries: list[Query]) -> None:
    """Read what was there before: a damaged file, or one of another query's text, ends the run."""
    for query in queries:
        folder.load(query)
