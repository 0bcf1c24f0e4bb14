"""Weights of backbones: read from local files, made at random, hashed."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from tal.checkpoints import read_checkpoint
from tal.errors import TalError

_LOG = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)

RANDOM = "random"
FILE = "file"


def hash_of(model: nn.Module) -> str:
    """SHA-256 of the state dict's names, shapes, types and bytes; the first 16 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def random_model(build: Callable[[], Network], name: str) -> Network:
    """Build with random weights, the same ones every time, and say so."""
    _LOG.warning("%s has random weights: its features carry no knowledge of any kind", name)
    return seeded(build)


def seeded(build: Callable[[], Network]) -> Network:
    """Build with torch's generator at a fixed seed; the caller's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def load_file(model: nn.Module, path: Path) -> None:
    """Load a local file's weights into a model; every entry has to fit.

    Checkpoints that keep the weights under "state_dict", "model" or "model_state", or name them "module.x", are read.

    Raises:
        TalError: no such file, no weights in it, or weights of another model.
    """
    fit(model, read_state(path), path)


def fit(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load weights that were read from `path` into a model; every entry has to fit.

    Raises:
        TalError: weights of another model.
    """
    ours = model.state_dict()
    wrong = [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(ours[name].shape)}"
        for name in ours
        if name in state and state[name].shape != ours[name].shape
    ]
    lacking, foreign = sorted(set(ours) - set(state)), sorted(set(state) - set(ours))
    if wrong or lacking or foreign:
        found = [f"{len(lacking)} lacking ({', '.join(lacking[:3])})"] if lacking else []
        found += [f"{len(foreign)} not of this model ({', '.join(foreign[:3])})"] if foreign else []
        found += [f"{len(wrong)} of another shape ({wrong[0]})"] if wrong else []
        raise TalError(
            f"{path} does not fit: {'; '.join(found)}",
            expected=f"the {len(ours)} entries of {type(model).__name__}",
            cause="weights of another model or variant",
        )
    model.load_state_dict(state)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the log lines of the libraries that build and fetch: what matters is raised or told by us."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def downloading(name: str) -> Iterator[None]:
    """Turn what goes wrong while published weights are fetched into one error that says what to do.

    Raises:
        TalError: with the reason in one line.
    """
    _LOG.info("%s: loading the published weights", name)
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TalError(
            f"the published weights of {name} could not be loaded: {reason}",
            cause="no connection to where they are published",
            todo="fetch them elsewhere and give --weights FILE, or try the pipeline with --weights random",
        ) from error


def read_state(path: Path) -> dict[str, Tensor]:
    """A file's weights by name, from where checkpoints keep them and without the prefix "module.".

    Raises:
        TalError: no such file, or no weights in it.
    """
    content = read_checkpoint(path)
    for key in ("state_dict", "model_state", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise TalError(f"weights {path} hold a {type(content).__name__}", expected="a dict of tensors")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
