"""tal extract: videos to features."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tal.errors import ConfigError
from tal.pipelines.extract_inputs import Inputs, in_shard, read_inputs
from tal.pipelines.extract_running import Cluster, run
from tal.video import decoder_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tal.features.extractor import Summary


def extract(
    inputs: list[str],
    *,
    backbone: str,
    out: Path,
    weights: str | None = None,
    flow_weights: str | None = None,
    videos: Path | None = None,
    id: Literal["stem", "path"] = "stem",  # noqa: A002
    subset: list[str] | None = None,
    shard: str | None = None,
    stride_s: float | None = None,
    tokens: bool = False,
    layers: list[str] | None = None,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    compile: bool = False,  # noqa: A002
    batch_clips: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    dtype: Literal["float16", "float32"] = "float16",
    resize_mode: Literal["fast", "reference"] = "fast",
    decoders: int | None = None,
    decoder: Literal["auto", "pyav", "torchcodec", "decord"] = "pyav",
    patience: float = 30.0,
    retry_failed: bool = False,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    network_actors: int | None = None,
    gpus_per_actor: float | None = None,
) -> int:
    """Make features of videos and keep them in a store.

    May be stopped at any time and run again: finished videos are not done twice, failures are recorded and not tried
    again unless asked, a video whose file was replaced since is done anew. Several processes may share one store.
    Exit code 1 if any video failed.

    tal extract --status STORE tells what is done, failed and missing; --verify STORE looks for damaged and senseless
    features; --pack STORE puts very many videos into few files; --text ANNOTATIONS makes features of sentences. Each
    has its own --help.

    Args:
        inputs: Video files; folders that are searched for them; globs; a .csv table with columns video, path, subset
            (one of the first two is enough); an annotation file (.json) whose ids are looked for below --videos; - for
            paths on standard input, one a line.
        backbone: tiny, torchvision:MODEL, open_clip:MODEL/PRETRAINED, timm:MODEL, transformers:ORGANISATION/NAME,
            mmaction2:CONFIG or i3d; see tal list backbones. Those of sound (vggish, logmel) hear the videos, or files
            of sound alone.
        out: Folder of the store, or, with --layers, of the stores.
        weights: A local file in place of the published weights, or random (to try things out).
        flow_weights: The same for RAFT, which computes the optical flow of i3d:flow.
        videos: Folder of the videos that tables and annotation files name.
        id: What a video is called: its file's stem, as annotations do, or its path below the folder, with suffix.
        subset: Only these splits of tables and annotation files.
        shard: i/n, as 3/8: only the third of eight parts, for arrays of jobs numbered from 1. A video stays in its part
            when others are added.
        stride_s: From one snippet to the next, seconds; the backbone's own if not given.
        tokens: Keep a vector for every place that the network looks at, in place of their mean.
        layers: Names of the network's modules, each of which gets a store of its own below --out; "features" is what
            the network gives at its end.
        precision: Of the network's computation; bfloat16 and float16 are faster on a GPU.
        compile: Run the network through torch.compile: a minute at the start, less time per clip.
        batch_clips: Clips that the network sees at once; more needs more memory.
        device: Where the network runs; auto takes a GPU if there is one.
        dtype: Of the features on disk.
        resize_mode: fast, or reference to resize exactly as the backbone's own preprocessing does, slower.
        decoders: Videos decoded at once, each by a process with one thread; if not given, 4, or one per core where
            there are fewer and the network is on the CPU.
        decoder: pyav; torchcodec, which beside a network on a GPU decodes there and leaves the frames there; decord.
            The last two are extras; tal info tells which can be used here. auto chooses for each video, and goes on
            with the next where one fails.
        patience: A video is given up when its decoder keeps us waiting for so many times its duration and two seconds.
        retry_failed: Try again what failed before.
        engine: local: in this process and its decoders. ray (an extra): on a cluster, whose machines see the videos and
            --out under the same names; the same stores and bytes. docs/scale.md tells how to size one.
        address: Of the Ray cluster, HOST:PORT, or auto on a machine that belongs to one; if not given, this machine's
            cores.
        network_actors: Networks in the whole cluster; one per GPU, or per four cores without GPUs, if not given.
            --decoders then counts the whole cluster's decoders: if not given, one on every core that is left.
        gpus_per_actor: Of each network: 0.5 for two that share a GPU, 0 for the CPU.
    """
    named = read_inputs(inputs, videos=videos, rule=id, subset=subset or ())
    mine = named if shard is None else in_shard(named, shard)
    if decoder != "auto":
        decoder_version(decoder)  # Tells at once where it cannot be used.
    if engine == "local" and (address, network_actors, gpus_per_actor) != (None, None, None):
        raise ConfigError("--address, --network-actors or --gpus-per-actor", expected="--engine ray beside them")
    from tal.backbones import load_backbone
    from tal.device import choose_device

    load = partial(
        load_backbone,
        backbone,
        weights=weights,
        stride_s=stride_s,
        resize_mode=resize_mode,
        tokens=tokens,
        layers=layers or (),
        dtype=precision,
        compile=compile,
        flow_weights=flow_weights,
    )
    cluster = None
    if engine == "ray":
        gpus = 0.0 if device == "cpu" else gpus_per_actor
        cluster = Cluster(load=load, address=address, network_actors=network_actors, gpus_per_actor=gpus)
    network = load(device="cpu" if cluster else str(choose_device(device)))
    summary = run(
        mine,
        network,
        out,
        dtype=dtype,
        batch_clips=batch_clips,
        retry_failed=retry_failed,
        decoders=decoders,
        decoder=decoder,
        patience=patience,
        cluster=cluster,
    )
    _tell_inputs(named, mine, shard)
    _tell(summary, out)
    return 1 if summary.failed else 0


def _tell_inputs(named: Inputs, mine: Inputs, shard: str | None) -> None:
    """What is odd about the inputs."""
    if named.repeated:
        print(f"{named.repeated} files were named more than once, and count once")
    if shard is not None:
        print(f"part {shard}: {len(mine)} of {len(named)} videos")
    if mine.missing:
        print(f"{len(mine.missing)} videos have no file")


def _tell(summary: Summary, out: Path) -> None:
    """The end of a run: how many, how fast, and what failed."""
    parts = [f"{len(summary.done)} done", f"{len(summary.skipped)} were done before", f"{len(summary.failed)} failed"]
    if summary.replaced:
        parts[0] += f" ({len(summary.replaced)} of them again, because their files were replaced)"
    print(f"{out}: {', '.join(parts)}")
    if summary.done:
        rate = summary.video_s / max(summary.wall_s, 1e-9)
        print(f"{summary.video_s:.0f} s of video in {summary.wall_s:.1f} s, {rate:.1f} x real time; {summary.rates()}")
    for failure in sorted(summary.failed, key=lambda each: each.video):
        tries = f" ({failure.attempts} attempts)" if failure.attempts > 1 else ""
        print(f"  failed: {failure.video}: {failure.stage}: {failure.error}{tries}")


def run_words(words: Sequence[str]) -> int:
    """The command, or what is done otherwise: --status, --verify, --pack and --text have options of their own."""
    from tal.arguments import parse
    from tal.console import set_up_logging
    from tal.pipelines.extract_pack import pack
    from tal.pipelines.extract_status import status
    from tal.pipelines.extract_text import extract_text
    from tal.pipelines.extract_verify import verify

    given = {word.partition("=")[0] for word in words}
    others: dict[str, Callable[..., int]] = {
        "--status": status,
        "--verify": verify,
        "--pack": pack,
        "--text": extract_text,
    }
    function = next((others[word] for word in others if word in given), extract)
    arguments = parse(function, "extract", ["--help"] if given & {"-h", "--help"} else words)
    set_up_logging(arguments.pop("log_level"))
    return function(**arguments)


extract.run_words = run_words  # type: ignore[attr-defined]
