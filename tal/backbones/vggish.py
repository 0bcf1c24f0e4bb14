"""VGGish (Hershey et al. 2017, arXiv:1609.09430; tensorflow/models, research/audioset/vggish): sound to 128 numbers.

Layers and their names are those of harritaylor/torchvggish, whose checkpoints load as they are. Maps are flattened in
TensorFlow's order (time, band, channel), and the vector is the one after the last ReLU, as that port has it.

    vggish            (128,) as the network gives it
    vggish:pca        rotated and whitened by the published PCA
    vggish:quantized  then cut to [-2, 2] and rounded to 0 ... 255, as torchvggish does; AudioSet's and YouTube-8M's
                      own files were rounded down
"""

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tal.audio.base import AudioBackbone, AudioSpec
from tal.audio.logmel import LogMel
from tal.backbones.weights import FILE, RANDOM, downloading, fit, hash_of, random_model, read_state, seeded
from tal.errors import PackageError, TalError, unknown_name

WIDTH, EXAMPLE_FRAMES, STRIDE_S = 128, 96, 0.96

_MODELS = ("", "pca", "quantized")
_CUT = 2.0
_PCA = "pca_eigen_vectors", "pca_means"
_URL = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/"
_PUBLISHED, _PUBLISHED_PCA = "vggish-10086976.pth", "vggish_pca_params-970ea276.pth"


class VGGishNetwork(nn.Module):
    """(B, 96, 64) log-mel -> (B, 128).

    Args:
        output: What is made of the vector: nothing (""), "pca" or "quantized".
    """

    pca_eigen_vectors: Tensor
    pca_means: Tensor

    def __init__(self, output: str = "") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for size in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0):
            if size:
                layers += [nn.Conv2d(width, size, 3, padding=1), nn.ReLU(inplace=True)]
                width = size
            else:
                layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        widths = (512 * 6 * 4, 4096, 4096, WIDTH)
        dense = [(nn.Linear(a, b), nn.ReLU(inplace=True)) for a, b in pairwise(widths)]
        self.embeddings = nn.Sequential(*(layer for pair in dense for layer in pair))
        self.output = output
        if output:
            self.register_buffer(_PCA[0], torch.randn(WIDTH, WIDTH) / WIDTH**0.5)
            self.register_buffer(_PCA[1], torch.zeros(WIDTH, 1))

    def forward(self, examples: Tensor) -> Tensor:
        maps = self.features(examples[:, None])  # (B, 512, 6, 4)
        vectors: Tensor = self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))
        if self.output:
            vectors = (self.pca_eigen_vectors @ (vectors.T - self.pca_means)).T
        if self.output == "quantized":
            vectors = torch.round((vectors.clamp(-_CUT, _CUT) + _CUT) * (255 / (2 * _CUT)))
        return vectors


class VGGish(AudioBackbone):
    """`VGGishNetwork` with its spec."""

    def __init__(self, network: VGGishNetwork, spec: AudioSpec) -> None:
        super().__init__()
        self.network, self.spec = network, spec

    def forward(self, examples: Tensor) -> Tensor:
        """(B, 96, 64) -> (B, 128) float32."""
        vectors: Tensor = self.network(examples)
        return vectors.float()


def build(
    model: str, *, weights: Path | str | None, stride_s: float | None, resize_mode: Literal["fast", "reference"]
) -> VGGish:
    """Build the network; see `load_backbone`.

    Args:
        model: "", "pca" or "quantized".
        weights: None for the published ones, "random", or a file of torchvggish's layout. The PCA is read from the same
            file, or from vggish_pca_params*.npz or .pth beside it.
        stride_s: From one example to the next; 0.96 s, their length, if None.
        resize_mode: Of pictures; not used.

    Raises:
        TalError: no such model, or weights that cannot be loaded.
    """
    if model not in _MODELS:
        raise unknown_name("VGGish output", model, [name for name in _MODELS if name])
    network, source = _network(model, weights)
    spec = AudioSpec(
        name=f"vggish:{model}" if model else "vggish",
        weights=source,
        weights_hash=hash_of(network),
        log_mel=LogMel(),
        example_frames=EXAMPLE_FRAMES,
        stride_s=STRIDE_S if stride_s is None else stride_s,
        width=WIDTH,
    )
    return VGGish(network, spec)


def _network(model: str, weights: Path | str | None) -> tuple[VGGishNetwork, str]:
    """The network, and where its weights are from."""
    if weights == RANDOM:
        return random_model(lambda: VGGishNetwork(model), "vggish"), RANDOM
    network = seeded(lambda: VGGishNetwork(model))
    if weights is None:
        with downloading("vggish"):
            path = _fetched(_PUBLISHED)
            pca = _fetched(_PUBLISHED_PCA) if model else None
        _load(network, path, pca)
        return network, "torchvggish v0.1"
    _load(network, Path(weights), None)
    return network, FILE


def _fetched(name: str) -> Path:
    """A published file in torch's cache; its name ends in its hash."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(_URL + name, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
    return path


def _load(network: VGGishNetwork, path: Path, pca: Path | None) -> None:
    """Load the weights, and the PCA where the network has one."""
    state = {name.removeprefix("pproc."): value for name, value in read_state(path).items()}
    parameters = {name: state.pop(name) for name in _PCA if name in state}
    if network.output:
        if not parameters:
            parameters = _read_pca(_beside(path) if pca is None else pca)
        state |= {_PCA[0]: parameters[_PCA[0]].float(), _PCA[1]: parameters[_PCA[1]].float().reshape(-1, 1)}
    fit(network, state, path)


def _beside(path: Path) -> Path:
    found = sorted(each for each in path.parent.glob("vggish_pca_params*") if each.suffix in (".npz", ".pth", ".pt"))
    if not found:
        raise TalError(
            f"{path} holds no PCA parameters, and none are beside it",
            expected=f"{_PCA[0]} and {_PCA[1]} in it, or a file vggish_pca_params*.npz or .pth in {path.parent}",
            todo="get one from tensorflow/models or torchvggish, or use the backbone vggish without PCA",
        )
    return found[0]


def _read_pca(path: Path) -> dict[str, Tensor]:
    """The PCA's parameters: NumPy's npz, as published with TensorFlow's code, or torchvggish's arrays in a .pth.

    Raises:
        PackageError: something else.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                content: Any = dict(arrays)
        else:
            with torch.serialization.safe_globals(_array_parts()):
                content = torch.load(path, map_location="cpu", weights_only=True)
        return {name: torch.as_tensor(content[name]) for name in _PCA}
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        RuntimeError,
        pickle.UnpicklingError,
    ) as error:
        raise PackageError(
            f"{path} cannot be read as VGGish's PCA: {(str(error) or type(error).__name__).splitlines()[0]}",
            expected=f"arrays {_PCA[0]} and {_PCA[1]}",
        ) from error


def _array_parts() -> list[Any]:
    """What a pickled array of floats is made of, by the names of today's and of older NumPy."""
    from numpy._core.multiarray import _reconstruct

    old = (_reconstruct, "numpy.core.multiarray._reconstruct")
    return [_reconstruct, old, np.ndarray, np.dtype, np.dtypes.Float32DType, np.dtypes.Float64DType]
