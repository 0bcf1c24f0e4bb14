"""What there is, by name, without importing any of it: name -> "module:object" and one line of description.

A new method, backbone family or benchmark adds its one line here and nothing else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tal.errors import unknown_name


@dataclass(frozen=True)
class Entry:
    """One name: where its object is ("module:object"), and what it is in one line."""

    target: str
    about: str

    def load(self) -> Any:
        """Import the module and return the object."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


class Registry(Mapping[str, Entry]):
    """A lazy table of one kind of thing."""

    def __init__(self, kind: str, entries: Mapping[str, tuple[str, str]]) -> None:
        self.kind = kind
        self._entries = {name: Entry(target, about) for name, (target, about) in entries.items()}

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, name: str) -> Any:
        """Import and return the object called `name`.

        Raises:
            TalError: no such name; the message lists what there is and the closest names.
        """
        return self[name].load()


METHODS = Registry(
    "method",
    {
        "actionformer": ("tal.methods.actionformer:ActionFormer", "one-stage localizer on a transformer pyramid"),
        "asl": ("tal.methods.asl:Asl", "ActionFormer whose losses are weighted by learnt action sensitivity"),
        "bmn": ("tal.methods.bmn:Bmn", "boundaries and a map of scores of all segments between them"),
        "csa_bmn": ("tal.methods.csa:CsaBmn", "BMN with attention from class semantics"),
        "csa_actionformer": ("tal.methods.csa:CsaActionFormer", "ActionFormer with attention from class semantics"),
        "tridet": ("tal.methods.tridet:TriDet", "one-stage localizer on convolutions, ends from distributions"),
        "temporalmaxer": ("tal.methods.temporalmaxer:TemporalMaxer", "one-stage localizer on max pooling alone"),
        "mrav_ff": ("tal.methods.mrav_ff:MravFf", "ActionFormer that hears, by gates at every level"),
        "mrav_ff_tridet": ("tal.methods.mrav_ff:MravFfTriDet", "TriDet that hears, by gates at every level"),
        "tal": (
            "tal.methods.own:TalLocalizer",
            "ours for small data: an ActionFormer and three TriDets, averaged",
        ),
        "moment_detr": ("tal.methods.moment_detr:MomentDetr", "moments and highlights for a sentence, as a set"),
        "denoiseloc": ("tal.methods.denoiseloc:DenoiseLoc", "moments for a sentence, from spans that begin as noise"),
        "denoiseloc_segments": (
            "tal.methods.denoiseloc_segments:DenoiseSegments",
            "segments from spans that begin as noise, a reconstruction",
        ),
    },
)

BACKBONES = Registry(
    "backbone",
    {
        "tiny": ("tal.backbones.tiny:build", "small video network whose weights ship with the package"),
        "open_clip": ("tal.backbones.openclip:build", "image towers of open_clip models, a vector per frame"),
        "timm": (
            "tal.backbones.timm:build",
            "image models of timm (DINOv2, DINOv3, ConvNeXt, ...), a vector per frame",
        ),
        "torchvision": ("tal.backbones.torchvision:build", "video networks of torchvision, a vector per clip"),
        "transformers": (
            "tal.backbones.transformers:build",
            "VideoMAE, V-JEPA 2, TimeSformer, X-CLIP, a vector per clip",
        ),
        "mmaction2": ("tal.backbones.mmaction2:build", "recognizers of mmaction2's zoo by config, a vector per clip"),
        "i3d": (
            "tal.backbones.i3d:build",
            "I3D on colour or optical flow, a vector per clip; weights from a file",
        ),
        "vggish": ("tal.backbones.vggish:build", "VGGish on sound, a vector per 0.96 s"),
        "logmel": ("tal.backbones.logmel:build", "loudness per band of sound, per 0.96 s; no weights"),
    },
)

PROTOCOLS = Registry(
    "protocol",
    {
        "thumos14": ("tal.datasets.thumos14:PROTOCOL", "THUMOS14 temporal detection, mAP at tIoU 0.3 to 0.7"),
        "activitynet": ("tal.datasets.activitynet:PROTOCOL", "ActivityNet-1.3 detection, mAP at tIoU 0.5 to 0.95"),
        "hacs": ("tal.datasets.hacs:PROTOCOL", "HACS Segments detection, mAP at tIoU 0.5 to 0.95"),
        "fineaction": ("tal.datasets.fineaction:PROTOCOL", "FineAction detection, mAP at tIoU 0.5 to 0.95"),
        "multithumos": ("tal.datasets.multithumos:PROTOCOL", "MultiTHUMOS detection, mAP at tIoU 0.1 to 0.9"),
        "charades": ("tal.datasets.charades:PROTOCOL", "Charades detection, mAP at tIoU 0.1 to 0.9"),
        "ego4d-mq": ("tal.datasets.ego4d_mq:PROTOCOL", "Ego4D moment queries, mAP and Recall@kx at tIoU 0.1 to 0.5"),
        "epic-kitchens": (
            "tal.datasets.epic_kitchens:PROTOCOL",
            "EPIC-KITCHENS-100 detection of verbs, nouns, actions",
        ),
        "activitynet-proposals": ("tal.datasets.activitynet:PROPOSALS", "ActivityNet-1.3 proposals, AR@AN and AUC"),
        "proposals": ("tal.datasets.generic:PROPOSALS", "proposals on any set, AR@AN and AUC"),
        "multithumos-frames": ("tal.datasets.multithumos:FRAMES", "MultiTHUMOS, per-frame mAP"),
        "charades-frames": ("tal.datasets.charades:FRAMES", "Charades, per-frame mAP at 25 times of each video"),
        "frames": ("tal.datasets.generic:FRAMES", "per-frame mAP on any set"),
        "generic": ("tal.datasets.generic:PROTOCOL", "any set of one's own, mAP at tIoU of choice"),
        "thumos14-open": ("tal.datasets.open_vocabulary:THUMOS14", "THUMOS14, 12 base and 8 novel classes"),
        "activitynet-open": ("tal.datasets.open_vocabulary:ACTIVITYNET", "ActivityNet-1.3, base and novel classes"),
        "fineaction-open": ("tal.datasets.open_vocabulary:FINEACTION", "FineAction, base and novel classes"),
        "thumos14-zeroshot": ("tal.datasets.zero_shot:THUMOS14", "THUMOS14, unseen classes, mean over ten splits"),
        "activitynet-zeroshot": ("tal.datasets.zero_shot:ACTIVITYNET", "ActivityNet-1.3, unseen classes, ten splits"),
        "online": ("tal.datasets.online:PROTOCOL", "online detection: mAP, end delays, Hungarian F1, start detection"),
        "thumos14-online": ("tal.datasets.online:THUMOS14", "THUMOS14 online detection, tIoU 0.3 to 0.7"),
        "egtea-online": ("tal.datasets.online:EGTEA", "EGTEA Gaze+ online detection, tIoU 0.1 to 0.5"),
        "ava": ("tal.datasets.ava:PROTOCOL", "AVA, boxes and actions on keyframes, frame mAP at IoU 0.5"),
        "ava-kinetics": ("tal.datasets.ava:KINETICS", "AVA-Kinetics, boxes and actions on keyframes, frame mAP"),
        "frame-boxes": ("tal.datasets.frame_boxes:PROTOCOL", "boxes on keyframes of one's own, frame mAP"),
        "jhmdb": ("tal.datasets.jhmdb:PROTOCOL", "JHMDB action tubes, frame-mAP and video-mAP"),
        "ucf101-24": ("tal.datasets.ucf101_24:PROTOCOL", "UCF101-24 action tubes, frame-mAP and video-mAP"),
        "e2tad": ("tal.datasets.e2tad:PROTOCOL", "LPCVC 2021 UAV video: who holds which ball when"),
        "charades-sta": ("tal.datasets.charades_sta:PROTOCOL", "Charades-STA moment retrieval, R@n at IoU m"),
        "tacos": ("tal.datasets.tacos:PROTOCOL", "TACoS moment retrieval, R@n at IoU m"),
        "activitynet-captions": (
            "tal.datasets.activitynet_captions:PROTOCOL",
            "ActivityNet Captions moment retrieval, R@n at IoU m",
        ),
        "grounding": ("tal.datasets.moments:PROTOCOL", "moment retrieval on any set, R@n at IoU m"),
        "qvhighlights": (
            "tal.datasets.qvhighlights:PROTOCOL",
            "QVHighlights: moment mAP and R1, highlight mAP and HIT@1",
        ),
        "ual-bench": ("tal.datasets.ual_bench:PROTOCOL", "UAL-Bench: overlap, time difference and onset"),
        "recognition": (
            "tal.datasets.recognition:PROTOCOL",
            "recognition, one class per video: top-k and mean class accuracy",
        ),
        "recognition-multilabel": (
            "tal.datasets.recognition:MULTILABEL",
            "recognition, several classes per video: mAP",
        ),
        "videoglue": ("tal.datasets.videoglue:PROTOCOL", "VideoGLUE score of foundation models, from scores and costs"),
        "repcount": ("tal.datasets.repcount:PROTOCOL", "RepCount repetition counting, MAE and OBO"),
        "counting": ("tal.datasets.repcount:COUNTING", "repetition counting on one's own videos, MAE and OBO"),
        "progress": ("tal.datasets.progress:PROTOCOL", "progress per frame of a task, value-order correlation"),
        "quality": ("tal.datasets.quality:PROTOCOL", "action quality: SRCC, KRCC, PLCC and relative L2"),
        "planning": ("tal.datasets.planning:PROTOCOL", "procedure planning: success rate, accuracy and mIoU"),
        "differencing": ("tal.datasets.differencing:PROTOCOL", "VidDiffBench: closed accuracy and open recall"),
        "segmentation": ("tal.datasets.masks:PROTOCOL", "ActionVOS: masks of the objects that act, p/n IoU and gIoU"),
        "hand-objects": ("tal.datasets.hand_objects:PROTOCOL", "hands with the objects they use, as on 100DOH, AP"),
        "active-objects": ("tal.datasets.hand_objects:ACTIVE_OBJECTS", "objects in use, as on MECCANO, AP"),
    },
)

COMMANDS = Registry(
    "command",
    {
        "demo": ("tal.pipelines.demo:demo", "the whole job on the built-in benchmark, ending with a report"),
        "extract": ("tal.pipelines.extract:extract", "videos to features: batched, resumable, failures recorded"),
        "train": ("tal.pipelines.train:train", "train a localizer from a recipe"),
        "explain": ("tal.pipelines.explain:explain", "show a recipe's settings, with those derived from the data"),
        "localize": ("tal.pipelines.localize:localize", "what happens when: detections, subtitles and a page"),
        "evaluate": ("tal.pipelines.evaluate:evaluate", "score predictions by a benchmark's official protocol"),
        "diagnose": ("tal.pipelines.diagnose:diagnose", "where the mAP of detections is lost, and how sure it is"),
        "check": ("tal.pipelines.check:check", "find what is wrong with a dataset before training does"),
        "report": ("tal.pipelines.report:report", "one html page: player, timeline, metrics, worst misses"),
        "export": ("tal.pipelines.export:export", "annotations and predictions to the files of other tools"),
        "export-model": ("tal.pipelines.export_model:export_model", "a trained network as an ONNX or torch file"),
        "convert": ("tal.pipelines.convert:convert", "an original checkpoint to a model package"),
        "playground": ("tal.pipelines.playground:playground", "render the built-in benchmark"),
        "list": ("tal.pipelines.list:list_", "models, backbones, protocols, recipes"),
        "info": ("tal.pipelines.info:info", "what this machine can do"),
    },
)
