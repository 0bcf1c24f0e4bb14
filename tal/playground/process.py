"""Rendering in processes of its own: they load neither torch nor the caller's main module.

`python -m tal.playground.process` reads one job as JSON from standard input and prints a line per finished video.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tal.errors import TalError, VideoError
from tal.playground.render import frames
from tal.playground.script import write_script
from tal.playground.settings import Settings
from tal.playground.sound import RATE, soundtrack
from tal.video.encode import VideoWriter

_PATIENCE_S = 10.0
_STOPPED = 143


def render_video(folder: Path, settings: Settings, split: str, index: int) -> Path:
    """Render one video with its sound to FOLDER/videos/ID.mp4.

    Raises:
        VideoError: it could not be written.
    """
    script = write_script(settings, split, index)
    sound = soundtrack(script)
    path = folder / "videos" / f"{script.video}.mp4"
    with VideoWriter(
        path, width=settings.width, height=settings.height, fps=settings.fps, audio_rate=RATE, preset="superfast"
    ) as writer:
        for frame_idx, frame in enumerate(frames(script), start=1):
            writer.write(frame)
            writer.write_audio(sound[writer.audio_position : round(frame_idx / settings.fps * RATE)])
    return path


def render_all(folder: Path, settings: Settings, videos: Sequence[tuple[str, int]], processes: int) -> Iterator[Path]:
    """Render (split, index) videos in so many processes; yields each path when it is done, in no fixed order.

    Raises:
        VideoError: a video could not be written; what is finished is kept.
    """
    if processes == 1:
        for split, index in videos:
            yield render_video(folder, settings, split, index)
        return
    reading, writing = os.pipe()
    children: list[subprocess.Popen[bytes]] = []
    try:
        with os.fdopen(reading, encoding="utf-8") as lines:
            for first in range(processes):
                children.append(_start(folder, settings, videos[first::processes], writing))
            os.close(writing)
            for line in lines:
                yield _finished(json.loads(line))
        for child in children:
            if child.wait() != 0:
                raise TalError(
                    f"a rendering process ended with exit code {child.returncode}", todo="see its output above"
                )
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(_PATIENCE_S)


def _start(
    folder: Path, settings: Settings, videos: Sequence[tuple[str, int]], writing: int
) -> subprocess.Popen[bytes]:
    home = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))
    child = subprocess.Popen(
        [sys.executable, "-m", "tal.playground.process"],
        stdin=subprocess.PIPE,
        stdout=writing,
        env=os.environ | {"PYTHONPATH": path},
        process_group=0,  # Ctrl-C reaches us alone, and we stop them
    )
    job = {"folder": str(folder), "settings": asdict(settings), "videos": list(videos)}
    if child.stdin is not None:
        child.stdin.write(json.dumps(job).encode())
        child.stdin.close()
    return child


def _finished(message: dict[str, Any]) -> Path:
    if "failed" in message:
        raise VideoError(*message["failed"])
    return Path(message["done"])


def _work() -> int:
    """A rendering process; it stops quietly when asked to, or when nobody listens any more."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_STOPPED))  # unwinds, so that nothing half-written stays
    job = json.load(sys.stdin)
    settings = Settings(**job["settings"])
    try:
        for split, index in job["videos"]:
            path = render_video(Path(job["folder"]), settings, split, index)
            _tell({"done": str(path)})
    except VideoError as error:
        _tell({"failed": [error.path, error.stage, error.reason]})
    except BrokenPipeError:
        return _STOPPED
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return 0


def _tell(message: dict[str, Any]) -> None:
    """One line in one piece, as all processes write to one pipe."""
    os.write(sys.stdout.fileno(), (json.dumps(message) + "\n").encode())


if __name__ == "__main__":
    sys.exit(_work())
