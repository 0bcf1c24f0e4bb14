"""tal extract: videos to features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tal.features.store import FeatureStore
from tal.video import assign_ids, decoder_version, list_videos

if TYPE_CHECKING:
    from tal.features.extractor import Summary


def extract(
    inputs: list[Path],
    *,
    backbone: str,
    out: Path,
    weights: str | None = None,
    id: Literal["stem", "path"] = "stem",  # noqa: A002
    stride_s: float | None = None,
    batch_clips: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    dtype: Literal["float16", "float32"] = "float16",
    resize_mode: Literal["fast", "reference"] = "fast",
    decoders: int | None = None,
    decoder: Literal["pyav", "torchcodec", "decord"] = "pyav",
    retry_failed: bool = False,
) -> int:
    """Make features of videos and keep them in a store.

    May be stopped at any time and run again: finished videos are not done twice, failures are recorded and not tried
    again unless asked, a video whose file was replaced since is done anew. Several processes may share one store.
    Exit code 1 if any video failed.

    Args:
        inputs: Video files, and folders that are searched for them.
        backbone: tiny, torchvision:MODEL or open_clip:MODEL/PRETRAINED; see tal list backbones.
        out: Folder of the store.
        weights: A local file in place of the published weights, or random (to try things out).
        id: What a video is called: its file's stem, as annotations do, or its path below the folder, with suffix.
        stride_s: From one snippet to the next, seconds; the backbone's own if not given.
        batch_clips: Clips that the network sees at once; more needs more memory.
        device: Where the network runs; auto takes a GPU if there is one.
        dtype: Of the features on disk.
        resize_mode: fast, or reference to resize exactly as the backbone's own preprocessing does, slower.
        decoders: Videos decoded at once; 1 beside a network on the CPU and 4 beside one on a GPU if not given.
        decoder: pyav; torchcodec, which beside a network on a GPU decodes there and leaves the frames there; decord.
            The last two are extras; tal info tells which can be used here.
        retry_failed: Try again what failed before.
    """
    paths = assign_ids(list_videos(inputs), inputs, id)
    decoder_version(decoder)  # Tells at once where it cannot be used.
    from tal.backbones import load_backbone
    from tal.device import choose_device
    from tal.features import extractor

    chosen = choose_device(device)
    network = load_backbone(backbone, weights=weights, device=str(chosen), stride_s=stride_s, resize_mode=resize_mode)
    store = FeatureStore.create(out, extractor.feature_spec(network.spec, dtype=dtype))
    summary = extractor.extract(
        paths,
        network,
        store,
        batch_clips=batch_clips,
        retry_failed=retry_failed,
        decoders=decoders if decoders is not None else (4 if chosen.type == "cuda" else 1),
        decoder=decoder,
    )
    _tell(summary, out)
    return 1 if summary.failed else 0


def _tell(summary: Summary, out: Path) -> None:
    """The end of a run: how many, how fast, and what failed."""
    parts = [f"{len(summary.done)} done", f"{len(summary.skipped)} were done before", f"{len(summary.failed)} failed"]
    if summary.replaced:
        parts[0] += f" ({len(summary.replaced)} of them again, because their files were replaced)"
    print(f"{out}: {', '.join(parts)}")
    if summary.done:
        rate = summary.video_s / max(summary.wall_s, 1e-9)
        print(
            f"{summary.video_s:.0f} s of video in {summary.wall_s:.1f} s, {rate:.1f} x real time; "
            f"{summary.binding} binds"
        )
    for failure in sorted(summary.failed, key=lambda each: each.video):
        tries = f" ({failure.attempts} attempts)" if failure.attempts > 1 else ""
        print(f"  failed: {failure.video}: {failure.stage}: {failure.error}{tries}")
