"""`tal info`: what this machine can do, or what a video holds."""

import json as json_format
import platform
import shutil
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tal.device import cores
from tal.version import VERSION

# Parts of extras whose own libraries may lack one of the system's, where that is not known before they are imported.
_IMPORTED = {"mmaction2": "cv2", "onnx": "onnxruntime"}

_LIBRARIES = ("torch", "torchvision", "lightning", "av", "numpy", "scipy", "open_clip_torch", "onnx", "onnxruntime")


def info(videos: list[Path] | None = None, *, json: str | None = None) -> int:
    """Tell what this machine can do; with videos, what each of them holds.

    Args:
        videos: Video files, or folders of them; the machine if left out.
        json: Also write everything as JSON to this file; - writes it to standard output instead of the table.
    """
    paths = _listed(videos or [])
    facts = {"videos": [_video(path, alone=len(paths) == 1) for path in paths]} if videos else machine()
    text = json_format.dumps({"schema": "tal.info/1", **facts}, indent=1) + "\n"
    if json == "-":
        print(text, end="")
    else:
        for block in facts["videos"] if videos else [facts]:
            _print_rows(_video_rows(block) if videos else _machine_rows(block))
    if json not in (None, "-"):
        from tal.atomic import write_text

        write_text(Path(json), text)
    return int(any("error" in each for each in facts.get("videos", ())))


def machine() -> dict[str, Any]:
    """Facts of this machine; imports torch only where there are signs of a GPU."""
    return {
        "tal": VERSION,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "gpu": _gpu(),
        "decoders": _decoders(),
        "extras": _extras(),
        "programs": {name: shutil.which(name) is not None for name in ("ffmpeg", "ffprobe")},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _gpu() -> dict[str, Any]:
    """Whether torch can use a GPU, and if not, why."""
    if find_spec("torch") is None:
        return {"usable": False, "why": "torch is not installed"}
    signs = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") or Path("/dev/kfd").exists()
    if platform.system() == "Linux" and not signs:
        return {"usable": False, "why": "no GPU driver found"}
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return {"usable": True, "names": names}
    if torch.backends.mps.is_available():
        return {"usable": True, "names": ["Apple GPU (mps)"]}
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return {"usable": False, "why": f"torch is {built} and sees no device"}


def _decoders() -> dict[str, dict[str, Any]]:
    """Name -> usable or not, and in words what it is or why not."""
    from tal.errors import TalError
    from tal.video import DECODERS, decoder_version

    found: dict[str, dict[str, Any]] = {}
    for name, entry in DECODERS.items():
        try:
            found[name] = {"usable": True, "about": f"{entry.about} ({decoder_version(name)})"}
        except TalError as error:
            found[name] = {"usable": False, "about": "; ".join(filter(None, (error.given, error.todo)))}
    return found


def _extras() -> dict[str, dict[str, Any]]:
    """Each extra of this package -> usable or not, and in words which versions are there or why not."""
    from packaging.requirements import Requirement

    try:
        package = metadata.distribution("tal")
    except metadata.PackageNotFoundError:  # used from its sources
        return {}
    wanted = [Requirement(line) for line in package.requires or ()]
    found: dict[str, dict[str, Any]] = {}
    for extra in sorted(set(package.metadata.get_all("Provides-Extra") or ()) - {"dev"}):
        parts = [each for each in wanted if each.marker and each.marker.evaluate({"extra": extra})]
        versions = {each.name: _version(each.name) for each in parts}
        missing = [f"{name} is not installed" for name, version in versions.items() if version is None]
        missing += [
            f"{each.name} is {version}, {each.specifier} is needed"
            for each in parts
            if (version := versions[each.name]) is not None and not each.specifier.contains(version, prereleases=True)
        ]
        reason = "; ".join([*missing, f"pip install 'tal[{extra}]'"]) if missing else _broken(extra)
        about = ", ".join(f"{name} {version}" for name, version in versions.items())
        found[extra] = {"usable": not reason, "about": reason or about}
    return found


def _broken(extra: str) -> str:
    """Why an extra that is installed cannot be used; nothing where it can."""
    from tal.errors import TalError
    from tal.video import DECODERS, decoder_version

    try:
        if extra in DECODERS:
            decoder_version(extra)
        elif extra in _IMPORTED:
            import_module(_IMPORTED[extra])
    except TalError as error:
        return "; ".join(filter(None, (error.given, error.todo)))
    except (ImportError, OSError) as error:
        return f"{_IMPORTED[extra]} cannot be loaded: {error}"
    return ""


def _listed(videos: list[Path]) -> list[Path]:
    """Files as they were named, also those that are missing, so that each is told about; folders by what is in them."""
    from tal.video import list_videos

    return [path for item in videos for path in (list_videos([item]) if Path(item).is_dir() else [Path(item)])]


def _video(path: Path, *, alone: bool) -> dict[str, Any]:
    """Facts of a video without its frames' times, or the error, which is raised for a video alone."""
    from dataclasses import asdict, replace

    import numpy as np

    from tal.errors import VideoError
    from tal.video import probe

    try:
        found = probe(path)
    except VideoError as error:
        if alone:
            raise
        return {"path": str(path), "error": str(error)}
    facts = asdict(replace(found, times_s=np.empty(0)))
    del facts["times_s"]
    return facts


def _machine_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    gpu = facts["gpu"]
    rows = [
        ("tal", facts["tal"]),
        ("python", f"{facts['python']} on {facts['system']}"),
        ("cores", str(facts["cores"])),
    ]
    rows.append(("gpu", ", ".join(gpu["names"]) if gpu["usable"] else f"none ({gpu['why']})"))
    rows += [(name, version or "not installed") for name, version in facts["libraries"].items()]
    for name, decoder in facts["decoders"].items():
        rows.append((f"decoder {name}", f"{'usable' if decoder['usable'] else 'not usable'}: {decoder['about']}"))
    for name, extra in facts["extras"].items():
        rows.append((f"extra {name}", f"{'usable' if extra['usable'] else 'not usable'}: {extra['about']}"))
    rows += [(name, "on the path" if there else "not on the path") for name, there in facts["programs"].items()]
    return rows


def _video_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    if "error" in facts:
        return [("error", facts["error"])]
    rate = "variable rate, on average" if facts["variable_rate"] else "constant rate,"
    shape = f"{facts['width']} x {facts['height']} as shown"
    if (facts["coded_width"], facts["coded_height"]) != (facts["width"], facts["height"]):
        shape += f", stored {facts['coded_width']} x {facts['coded_height']}"
    if facts["rotation_deg"]:
        shape += f", turned {facts['rotation_deg']} degrees clockwise"
    if facts["sample_aspect_ratio"] != 1:
        shape += f", pixels {facts['sample_aspect_ratio']:.4g} times as wide as high"
    sound = facts["audio"]
    rows = [
        ("video", facts["path"]),
        ("duration", f"{facts['duration_s']:.3f} s, {facts['frame_count']} frames, raw start {facts['start_s']:.3f} s"),
        ("rate", f"{rate} {facts['average_fps']:.4g} frames per second"),
        ("picture", shape),
        ("coding", f"{facts['codec']}, {facts['pix_fmt']}, in {facts['container']}, stream {facts['stream_idx']}"),
        ("sound", f"{sound['codec']}, {sound['sample_rate']} Hz, {sound['channels']} channels" if sound else "none"),
    ]
    return rows + [("note", note) for note in facts["notes"]]


def _print_rows(rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    print()
