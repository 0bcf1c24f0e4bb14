"""What every method is and where it comes from, without importing any: `tal list models` shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Status = Literal["equal to the original", "reconstruction in parts", "ours"]

_LOCALIZATION = "localization"
_QUERIES = "moment retrieval and highlights"
_NO_WEIGHTS = "none published"


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """Facts of one method.

    Args:
        task: What it is for.
        paper: Who, where; with its number where it has one.
        sources: Public code that decides its details, with the code's licence.
        weights: What weights there are that `tal convert` takes, and what is known of their licence.
        status: "equal to the original": outputs, losses and detections are held to those of the original code on
            recorded cases. "reconstruction in parts": nothing public pins some of it; its module says what. "ours".
        note: What the status leaves open.
    """

    task: str
    paper: str
    sources: tuple[str, ...]
    weights: str
    status: Status
    note: str = ""


_ACTIONFORMER = "happyharrycn/actionformer_release (MIT)"
_TRIDET = "dingfengshi/TriDet (MIT)"
_OPENTAD = "sming256/OpenTAD (Apache-2.0)"
_BMN = "JJBOY/BMN-Boundary-Matching-Network (MIT)"
_DENOISELOC = "frostinassiky/denoiseloc (MIT)"
_CSA_PAPER = "Sridhar et al., ICCV 2021, arXiv:2109.02613"
_MRAV_PAPER = "Fish, Weinbren, Gilbert, ML4Audio at NeurIPS 2023, arXiv:2310.03456"
_MRAV_SOURCES = ("ed-fish/MRAV-FF (no licence)", "ed-fish/actionformer_release (MIT)")
_DENOISE_PAPER = "Xu et al., ICLR 2024, arXiv:2304.02934"
_AUTHORS = "as the authors' code saves them; no licence of their own is stated"

CARDS: Mapping[str, MethodCard] = MappingProxyType(
    {
        "actionformer": MethodCard(
            task=_LOCALIZATION,
            paper="Zhang, Wu, Li, ECCV 2022, arXiv:2202.07925",
            sources=(_ACTIONFORMER,),
            weights=_AUTHORS,
            status="equal to the original",
        ),
        "asl": MethodCard(
            task=_LOCALIZATION,
            paper="Shao et al., ICCV 2023, arXiv:2305.15701",
            sources=("JonnyS1226/ego4d_asl (no licence), a variant for Ego4D",),
            weights=_NO_WEIGHTS,
            status="reconstruction in parts",
            note="ActionFormer's network; the losses follow the paper, whose code is not public",
        ),
        "bmn": MethodCard(
            task="proposals, or localization with video-level class scores",
            paper="Lin et al., ICCV 2019, arXiv:1907.09702",
            sources=(_BMN, _OPENTAD),
            weights="as both sources save them; no licence of their own is stated",
            status="equal to the original",
        ),
        "csa_bmn": MethodCard(
            task="proposals, or localization with video-level class scores",
            paper=_CSA_PAPER,
            sources=(_BMN, _OPENTAD),
            weights=_NO_WEIGHTS,
            status="reconstruction in parts",
            note="the attention has no public code; the host is BMN",
        ),
        "csa_actionformer": MethodCard(
            task=_LOCALIZATION,
            paper=_CSA_PAPER,
            sources=(_ACTIONFORMER,),
            weights=_NO_WEIGHTS,
            status="reconstruction in parts",
            note="the attention has no public code, its place in ActionFormer is ours",
        ),
        "tridet": MethodCard(
            task=_LOCALIZATION,
            paper="Shi et al., CVPR 2023, arXiv:2303.07347",
            sources=(_TRIDET,),
            weights=_AUTHORS,
            status="equal to the original",
        ),
        "temporalmaxer": MethodCard(
            task=_LOCALIZATION,
            paper="Tang, Kim, Sohn 2023, arXiv:2303.09055",
            sources=("TuanTNG/TemporalMaxer (no licence)", _OPENTAD),
            weights=_AUTHORS,
            status="equal to the original",
        ),
        "mrav_ff": MethodCard(
            task="localization with sound",
            paper=_MRAV_PAPER,
            sources=_MRAV_SOURCES,
            weights=_NO_WEIGHTS,
            status="reconstruction in parts",
            note="without sound equal to ActionFormer; the fusion's layers are pinned by nothing public",
        ),
        "mrav_ff_tridet": MethodCard(
            task="localization with sound",
            paper=_MRAV_PAPER,
            sources=(*_MRAV_SOURCES, _TRIDET),
            weights=_NO_WEIGHTS,
            status="reconstruction in parts",
            note="without sound equal to TriDet; the fusion's layers are pinned by nothing public",
        ),
        "tal": MethodCard(
            task=_LOCALIZATION,
            paper="none; made of pieces of others, which its module names",
            sources=(),
            weights="none shipped",
            status="ours",
        ),
        "moment_detr": MethodCard(
            task=_QUERIES,
            paper="Lei, Berg, Bansal, NeurIPS 2021, arXiv:2107.09609",
            sources=("jayleicn/moment_detr (MIT)",),
            weights=_AUTHORS,
            status="equal to the original",
        ),
        "denoiseloc": MethodCard(
            task=_QUERIES,
            paper=_DENOISE_PAPER,
            sources=(_DENOISELOC,),
            weights=_AUTHORS,
            status="equal to the original",
        ),
        "denoiseloc_segments": MethodCard(
            task=_LOCALIZATION,
            paper=_DENOISE_PAPER,
            sources=(_DENOISELOC,),
            weights=_NO_WEIGHTS,
            status="reconstruction in parts",
            note="the code has the task of QVHighlights only; windows, classes and suppression are ours",
        ),
    }
)
