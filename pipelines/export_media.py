"""Where the videos are that `tal export` writes about, for the tools that play them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tal.annotations.records import Annotations
from tal.errors import ConfigError
from tal.video.files import SUFFIXES, list_videos


@dataclass(frozen=True, kw_only=True)
class Media:
    """Videos whose place is known.

    Args:
        files: Video -> its file on this machine.
        web: Video -> its URL elsewhere.
        folder: The folder that the user named, which holds the files.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    web: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    def url(self, video: str) -> str | None:
        """For a program on this machine."""
        return self.files[video].as_uri() if video in self.files else self.web.get(video)

    def served_url(self, video: str) -> str | None:
        """For Label Studio, whose storage of local files has its root one above the folder."""
        if video not in self.files:
            return self.web.get(video)
        file = self.files[video]
        root = (self.folder or file.parent).parent
        return f"/data/local-files/?d={quote(file.relative_to(root).as_posix())}"


def find_media(annotations: Annotations, where: str | None) -> Media:
    """The videos in a folder or below a URL; those that the annotations name by path, if neither is given.

    A file belongs to the video that has its name, or its path below the folder, with or without suffix.

    Raises:
        ConfigError: `where` is neither a folder nor a URL.
    """
    if where is None:
        base = Path(annotations.source).parent
        paths = {video: base / record.path for video, record in annotations.videos.items() if record.path}
        return Media(files={video: path.resolve() for video, path in paths.items() if path.is_file()})
    if "://" in where:
        return Media(web={video: f"{where.rstrip('/')}/{quote(_file_name(video))}" for video in annotations.videos})
    folder = Path(where).resolve()
    if not folder.is_dir():
        raise ConfigError(f"--media {where}", expected="a folder with videos, or a URL that begins with https://")
    found: dict[str, Path] = {}
    for path in list_videos([folder]):
        inside = path.relative_to(folder)
        for name in (inside.as_posix(), inside.with_suffix("").as_posix(), path.name, path.stem):
            found.setdefault(name, path)
    return Media(files={video: found[video] for video in annotations.videos if video in found}, folder=folder)


def _file_name(video: str) -> str:
    return video if Path(video).suffix.lower() in SUFFIXES else f"{video}.mp4"
