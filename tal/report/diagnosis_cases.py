"""The sections of a diagnosis page that show single errors: each with its surroundings, and whole videos."""

from tal.diagnosis.cases import MISSED, Case
from tal.diagnosis.result import Diagnosis
from tal.report import diagnosis_timeline as timeline
from tal.report.diagnosis_svg import tag, text
from tal.report.diagnosis_words import ERROR_MEANINGS, ERROR_NAMES, seconds


def worst(result: Diagnosis) -> str:
    """Cards of the worst errors of each kind; each links to its video."""
    if not result.cases:
        return ""
    videos = {video.video: number for number, video in enumerate(result.videos)}
    about = (
        f"At tIoU {result.case_tiou:g}: of each kind the highest scores, of what was missed the longest instances; of "
        "one class at most two. The upper bar of a lane is ground truth, below it are predictions: the first G of each "
        "class, and the error, ringed."
    )
    parts = [tag("p", text(about), class_="about"), _legend()]
    numbered = list(enumerate(result.cases))
    for kind in dict.fromkeys(case.kind for case in result.cases):
        cards = [_card(result, number, case, videos) for number, case in numbered if case.kind == kind]
        heading = tag("h3", text(ERROR_NAMES[kind]), " ", tag("span", text(ERROR_MEANINGS[kind]), class_="soft"))
        parts.append(tag("div", heading, tag("div", *cards, class_="cards"), class_="kind", id=f"kind-{kind}"))
    return "".join(parts)


def videos(result: Diagnosis) -> str:
    """The videos of these errors from beginning to end; the ringed ones link back."""
    parts = []
    for number, video in enumerate(result.videos):
        cases = [(f"case-{index}", case) for index, case in enumerate(result.cases) if case.video == video.video]
        kinds = ", ".join(dict.fromkeys(ERROR_NAMES[case.kind] for _, case in cases))
        found = sum(span.kind == "found" for span in video.truth)
        facts = f"{seconds(video.duration_s)}, {found} of {len(video.truth)} instances found; here for: {kinds}"
        parts.append(
            tag(
                "div",
                tag("h3", text(video.video)),
                tag("p", text(facts), class_="soft"),
                timeline.whole(video, cases),
                class_="whole",
                id=f"video-{number}",
            )
        )
    return "".join(parts)


def _card(result: Diagnosis, number: int, case: Case, videos: dict[str, int]) -> str:
    place = videos[case.video]
    where = f"{seconds(case.span.start_s)} to {seconds(case.span.end_s)}"
    return tag(
        "article",
        tag("h3", text(case.span.label)),
        tag("p", text(_told(case, result.case_tiou)), class_="soft"),
        timeline.around(result.videos[place], case, f"video-{place}"),
        tag("p", tag("a", text(case.video), href=f"#video-{place}"), text(f", {where}")),
        id=f"case-{number}",
    )


def _told(case: Case, threshold: float) -> str:
    """One line of what is wrong."""
    if case.kind == MISSED:
        most = f"at most tIoU {case.tiou:.2f}" if case.tiou else "none"
        other = ", of one that takes another instance" if case.tiou >= threshold else ""
        return f"overlap with predictions of its class: {most}{other}"
    score = "" if case.span.score is None else f"score {case.span.score:.3g}, "
    ranked = f"{score}rank {case.rank} of its class"
    if case.nearest is None:
        return f"{ranked}; overlaps no instance"
    instance = f"{case.nearest.label}, {seconds(case.nearest.start_s)} to {seconds(case.nearest.end_s)}"
    return f"{ranked}; nearest instance: {instance}, tIoU {case.tiou:.2f}"


def _legend() -> str:
    kinds = {"found": "instance, found", MISSED: "instance, missed"}
    kinds |= {kind: name for kind, name in ERROR_NAMES.items() if kind != MISSED}
    items = [tag("li", tag("span", class_=f"key k-{kind}"), text(name)) for kind, name in kinds.items()]
    return tag("ul", *items, class_="legend")
