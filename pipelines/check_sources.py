"""What `tal check` is pointed at: annotation files, dataset folders, recipes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import yaml

from tal.errors import AnnotationError, ConfigError
from tal.features import Layout


@dataclass(frozen=True, kw_only=True)
class FeatureFolder:
    """A feature folder, and its layout if others made it."""

    folder: Path
    layout: Layout | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """One dataset to look at.

    Args:
        annotations: The file.
        format: Its format.
        videos: Folder of the videos, where the dataset says it.
        features: Folders of features, likewise.
        subsets: The splits that are used; none: all.
        train_subsets: Those that are trained on; none: told by their names.
    """

    annotations: Path
    format: str = "auto"
    videos: Path | None = None
    features: tuple[FeatureFolder, ...] = field(default=())
    subsets: tuple[str, ...] = ()
    train_subsets: tuple[str, ...] = ()


def source_of(word: Path) -> Source:
    """The dataset that a word of the command line means: a file, a folder with an annotations.json, or a recipe.

    Raises:
        TalError: a folder without annotations, or a recipe without data.
    """
    if word.is_dir():
        if not (word / "annotations.json").is_file():
            raise AnnotationError(f"{word} is a folder without an annotations.json", expected="an annotation file")
        return Source(annotations=word / "annotations.json", videos=word)
    if word.suffix in (".yaml", ".yml") and word.is_file():
        return _of_recipe(word.read_text(encoding="utf-8"), str(word))
    shipped = package_files("tal.configs").joinpath(f"{word.as_posix()}.yaml")
    if not word.exists() and ".." not in word.parts and shipped.is_file():
        return _of_recipe(shipped.read_text(encoding="utf-8"), str(word))
    return Source(annotations=word)


def _of_recipe(text: str, name: str) -> Source:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe {name} is not YAML: {error}") from None
    data = values.get("data") if isinstance(values, dict) else None
    if not isinstance(data, dict) or "annotations" not in data:
        raise ConfigError(f"{name}: no annotations in its data section", expected="a recipe, as tal train takes it")
    train = tuple(data.get("train_subsets") or ("training",))
    validation = data.get("validation_subsets")
    subsets = (*train, *(("validation",) if validation is None else validation))
    return Source(
        annotations=Path(data["annotations"]),
        format=data.get("format", "auto"),
        features=tuple(_feature_folder(each, name) for each in (data.get("features") or {}).values()),
        subsets=() if data.get("queries") else subsets,  # files of queries are splits themselves
        train_subsets=train,
    )


def _feature_folder(values: Mapping[str, Any], name: str) -> FeatureFolder:
    if "folder" not in values:
        raise ConfigError(f"{name}: features without a folder", expected="data.features.STREAM.folder")
    layout = values.get("layout")
    return FeatureFolder(
        folder=Path(values["folder"]), layout=None if layout is None else Layout.from_dict(dict(layout))
    )
