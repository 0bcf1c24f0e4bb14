"""What tests share: small videos made on the spot, and the folder of real inputs where there is one."""

import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

CASES = Path(__file__).parents[1] / "../shared/cases"
TICKS_PER_S = 90_000
BITS = 10


@pytest.fixture(autouse=True)
def _log_as_before():
    """Commands set `tal`'s log up for a terminal; the next test finds it as it was."""
    logger = logging.getLogger("tal")
    before = logger.propagate, list(logger.handlers), logger.level
    yield
    logger.propagate, logger.handlers[:], _ = before
    logger.setLevel(before[2])


def picture(number, width=64, height=48, *, seed=0):
    """(height, width, 3) uint8: `number` as a row of black and white blocks, noise-free colours below that move."""
    rows, columns = np.mgrid[:height, :width]
    shades = np.stack([columns * 255 // width, rows * 255 // height, (columns + 4 * number + 37 * seed) % 256], axis=2)
    pixels = shades.astype(np.uint8)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        pixels[: height // 3, left:right] = 255 * (number >> bit & 1)
    return pixels


def number_in(pixels):
    """The number that `picture` drew, read back from a decoded frame of any size."""
    height, width = pixels.shape[:2]
    centres = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, column in enumerate(centres) if pixels[height // 6, column].mean() > 127)


def write_video(
    path,
    *,
    frames=30,
    fps=25,
    size=(64, 48),
    audio=False,
    times=None,
    start_s=0.0,
    rotation=0,
    aspect=None,
    codec="libx264",
    pix_fmt="yuv420p",
    gop=12,
    b_frames=2,
    options=None,
):
    """Write a video whose frame i shows the number i (see `number_in`), and return its path.

    Args:
        path: Where; the suffix decides the container.
        frames: How many; ignored with `times`.
        fps: Constant rate.
        size: (width, height); odd sizes need a pix_fmt without subsampling, such as "yuv444p".
        audio: Add a 440 Hz tone (AAC).
        times: Seconds of every frame, for a variable rate.
        start_s: Added to every time stamp.
        rotation: Counterclockwise degrees, as FFmpeg's display matrix has it.
        aspect: Sample aspect ratio, e.g. Fraction(4, 3).
        gop, b_frames: Frames from one keyframe to the next; consecutive B-frames.
        options: More of the encoder's.
    """
    import av

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    rate = Fraction(fps).limit_denominator(1001)
    times = [number / fps for number in range(frames)] if times is None else list(times)
    with av.open(str(path), "w") as container:
        quality = {"crf": "1", "preset": "ultrafast", "x264-params": "scenecut=0"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=rate, options=quality | (options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.gop_size, stream.max_b_frames = gop, b_frames
        tick = Fraction(1, TICKS_PER_S) if path.suffix in (".mp4", ".mov", ".mkv", ".ts") else 1 / rate
        stream.codec_context.time_base = tick
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=16_000, layout="mono") if audio else None
        for number, time_s in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="rgb24")
            frame.pts, frame.time_base = round((time_s + start_s) / float(tick)), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_tone(container, sound, len(times) / fps)
    return path


def _write_tone(container, stream, duration_s, rate=16_000):
    import av

    samples = (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(duration_s * rate)) / rate)).astype(np.float32)
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_sound(path, parts, *, rate=48_000, layout="mono", codec="pcm_s16le", pictures=0):
    """Write a file of sound and return its path.

    Args:
        path: Where; Matroska with PCM keeps every time stamp.
        parts: (start in seconds, samples (n,) or (n, channels)) each.
        rate: Samples per second.
        layout: "mono" or "stereo".
        codec: Of the sound.
        pictures: Frames of a video beside it, at 25 per second.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"mono": 1, "stereo": 2}[layout]
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"}) if pictures else None
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        for number in range(pictures):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        if video is not None:
            container.mux(video.encode(None))
        for start_s, samples in parts:
            values = np.broadcast_to(np.asarray(samples).reshape(len(samples), -1), (len(samples), channels))
            whole = (values * 32767).astype(np.int16)
            for first in range(0, len(whole), 1024):
                piece = np.ascontiguousarray(whole[first : first + 1024]).reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(piece, format="s16", layout=layout)
                frame.rate, frame.pts = rate, round(start_s * rate) + first
                frame.time_base = Fraction(1, rate)
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def tone(seconds, rate=48_000, hertz=440):
    """(n,) samples of a sine of half the full amplitude."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture(scope="session")
def make_sound():
    """`write_sound`, the function; `.tone` makes samples."""
    write_sound.tone = tone
    return write_sound


@pytest.fixture(scope="session")
def make_video():
    """`write_video`, the function."""
    return write_video


@pytest.fixture(scope="session")
def read_number():
    """`number_in`, the function: which frame of `make_video` a picture is."""
    return number_in


@pytest.fixture
def bad_videos(tmp_path):
    """Name -> a file or path that is no usable video, one of each kind."""
    folder = tmp_path / "bad"
    whole = write_video(folder / "whole.mp4", frames=40)
    data = whole.read_bytes()
    files = {
        "missing": folder / "missing.mp4",
        "empty": folder / "empty.mp4",
        "text": folder / "text.mp4",
        "subtitles": folder / "film.txt",
        "picture": folder / "picture.mp4",
        "noise": folder / "noise.mkv",
        "index_cut_off": folder / "cut.mp4",
        "sound_only": folder / "sound.m4a",
        "folder": folder,
    }
    files["empty"].write_bytes(b"")
    files["text"].write_text("this is not a video\n" * 50)
    files["subtitles"].write_text("1\n00:00:01,000 --> 00:00:02,000\nhello\n")
    files["noise"].write_bytes(np.random.default_rng(0).bytes(20_000))
    files["index_cut_off"].write_bytes(data[: data.rindex(b"moov") - 100])
    _write_picture(files["picture"])
    _write_sound(files["sound_only"])
    whole.unlink()
    return files


def _write_picture(path):
    from PIL import Image

    Image.fromarray(picture(1)).save(path, format="PNG")


def _write_sound(path):
    import av

    with av.open(str(path), "w") as container:
        _write_tone(container, container.add_stream("aac", rate=16_000, layout="mono"), 1.0)


@pytest.fixture(scope="session")
def cases():
    """The folder of real inputs; skips where it is absent."""
    if not CASES.is_dir():
        pytest.skip(f"{CASES} is absent: tests on real inputs need it")
    return CASES


@pytest.fixture
def toy_package(tmp_path, monkeypatch):
    """Folder of a model package with random weights, whose backbone, mean colours per clip, costs nothing."""
    import torch

    monkeypatch.syspath_prepend(Path(__file__).parent / "helpers")
    from toy_backbone import ToyBackbone

    from tal.features.extractor import feature_spec
    from tal.methods.actionformer import ActionFormer, ActionFormerConfig
    from tal.package import save_package

    monkeypatch.setattr("tal.localization.load_backbone", lambda *_, **__: ToyBackbone().eval())
    torch.manual_seed(0)
    config = ActionFormerConfig(
        streams={"colour": 3}, classes=("jump", "wave"), train_snippets=64, width=16, branch_layers=2, window=5
    )
    model = ActionFormer(config)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    folder = tmp_path / "package"
    save_package(
        folder,
        method="actionformer",
        model=model,
        features={"colour": feature_spec(ToyBackbone().spec)},
        thresholds={"jump": 0.1, "wave": 0.2},
        card="A toy.",
    )
    return folder


@pytest.fixture
def bad_decoders(monkeypatch):
    """Registers the decoders of tests/doubles, which misbehave: their names."""
    from tal.registry import Entry
    from tal.video import DECODERS

    folder = Path(__file__).parent / "doubles"
    names = ("sleeper", "crasher", "hoarder", "thrower", "deaf")
    for name in names:
        monkeypatch.setitem(DECODERS._entries, name, Entry(f"bad_decoders:{name.capitalize()}", "misbehaves"))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return names
