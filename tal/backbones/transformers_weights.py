"""Networks of transformers with their weights: published, from a folder or file, or random."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from tal.backbones.hub import quick_hub
from tal.backbones.transformers_models import FAMILIES, PUBLISHED
from tal.backbones.weights import FILE, RANDOM, downloading, quiet, random_model, read_state
from tal.errors import TalError

_PREPROCESSORS = ("video_preprocessor_config.json", "preprocessor_config.json")
# A VideoMAE that was only pretrained has no norm: the mean of its places is then normalised without a scale.
_UNUSED = ("classifier.", "fc_norm.", "predictor.")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a network is from.

    Args:
        name: As typed.
        model: ORGANISATION/NAME, or a family.
        weights: See `tal.backbones.transformers.build`.
    """

    name: str
    model: str
    weights: Path | str | None

    @property
    def folder(self) -> Path | None:
        """The local folder, if weights are in one."""
        local = self.weights is not None and self.weights != RANDOM and Path(self.weights).is_dir()
        return Path(str(self.weights)) if local else None


def load_network(transformers: Any, source: Source) -> tuple[Any, str, str]:
    """The model, its family, and what its spec calls its weights.

    Raises:
        TalError: weights that are missing, unsafe, incomplete, or of another family.
    """
    if source.folder is not None:
        return *_from_folder(transformers, source, source.folder), FILE
    if source.weights is not None and source.weights != RANDOM:
        return *_from_file(transformers, source, Path(source.weights)), FILE
    if source.weights == RANDOM:
        kind, config = _known_config(transformers, source)
        build = getattr(transformers, FAMILIES[kind].model)
        return random_model(lambda: build(config), source.name), kind, RANDOM
    if source.model in FAMILIES:
        raise TalError(
            f"{source.name} has no weights that are fetched by name",
            expected="a published name, or --weights FOLDER in Hugging Face's layout",
            todo=f"use e.g. transformers:{next(name for name, (kind, _) in PUBLISHED.items() if kind == source.model)}",
        )
    with downloading(source.name), quick_hub(), quiet():
        config = transformers.AutoConfig.from_pretrained(source.model, trust_remote_code=False)
        kind = _kind(config, source)
        return _pretrained(transformers, kind, source, source.model), kind, "published"


def read_preprocessing(source: Source) -> Mapping[str, Any]:
    """What the model's preprocessor's config says; empty where there is none.

    Raises:
        TalError: one that cannot be read.
    """
    if source.folder is not None:
        paths = [source.folder / name for name in _PREPROCESSORS]
        path = next((path for path in paths if path.is_file()), None)
    elif source.weights is None:
        path = _fetched(source.model)
    else:
        path = None
    if path is None:
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TalError(f"{path} cannot be read: {error}", cause="a damaged file") from error
    if not isinstance(told, dict):
        raise TalError(f"{path} holds a {type(told).__name__}", expected="a mapping")
    return told


def _fetched(model: str) -> Path | None:
    """A published model's preprocessor's config; None where it has none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    for name in _PREPROCESSORS:
        try:
            with downloading(f"transformers:{model}"), quick_hub(), quiet():
                return Path(hf_hub_download(model, name))
        except TalError as error:
            if not isinstance(error.__cause__, EntryNotFoundError):
                raise
    return None


def _known_config(transformers: Any, source: Source) -> tuple[str, Any]:
    """Family and config of a name that is known without a network."""
    if source.model not in PUBLISHED and source.model not in FAMILIES:
        raise TalError(
            f"the architecture of {source.name} is not known here",
            expected=f"one of {', '.join([*FAMILIES, *PUBLISHED])}",
            todo="give --weights FOLDER, which has its config.json, or leave --weights out",
        )
    kind, values = PUBLISHED.get(source.model, (source.model, {}))
    return kind, getattr(transformers, FAMILIES[kind].config)(**values)


def _kind(config: Any, source: Source) -> str:
    """The family that a config is of, which has to be the name's."""
    kind = str(config.model_type)
    named = PUBLISHED[source.model][0] if source.model in PUBLISHED else source.model
    if kind not in FAMILIES or (named in FAMILIES and named != kind):
        raise TalError(
            f"{source.name}: a model of type {kind!r}",
            expected=named if named in FAMILIES else f"one of {', '.join(FAMILIES)}",
            cause="weights of another model",
        )
    return kind


def _from_folder(transformers: Any, source: Source, folder: Path) -> tuple[Any, str]:
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise TalError(
            f"{folder} holds no model in Hugging Face's layout",
            expected="config.json and .safetensors files",
            cause="pickled weights (.bin), which are never read, or another folder",
        )
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise TalError(f"{folder / 'config.json'} cannot be used: {_line(error)}", cause="another model") from error
    kind = _kind(config, source)
    return _pretrained(transformers, kind, source, folder, local_files_only=True), kind


def _from_file(transformers: Any, source: Source, path: Path) -> tuple[Any, str]:
    kind, config = _known_config(transformers, source)
    return _pretrained(transformers, kind, source, None, config=config, state_dict=read_state(path)), kind


def _pretrained(transformers: Any, kind: str, source: Source, where: Path | str | None, **settings: Any) -> Any:
    """The model with its weights, of which none but the classifier's may lack.

    Raises:
        TalError: weights that do not fit.
    """
    import torch

    build = getattr(transformers, FAMILIES[kind].model)
    safe = {"use_safetensors": True, "trust_remote_code": False, "dtype": torch.float32}
    try:
        with quiet():
            model, found = build.from_pretrained(where, **safe, **settings, output_loading_info=True)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        if source.weights is None:
            raise
        raise TalError(
            f"weights {source.weights} of {source.name} cannot be loaded: {_line(error)}",
            expected=f"safetensors of {build.__name__}",
            cause="a damaged file, or weights of another model",
        ) from error
    lacking = sorted(name for name in found["missing_keys"] if not name.startswith(_UNUSED))
    wrong = sorted(str(entry[0]) for entry in found["mismatched_keys"])
    if lacking or wrong:
        raise TalError(
            f"weights of {source.name} do not fit: {len(lacking)} lacking ({', '.join(lacking[:3])}), "
            f"{len(wrong)} of another shape ({', '.join(wrong[:3])})",
            expected=f"those of {build.__name__}",
            cause="weights of another model or variant",
        )
    return model


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
