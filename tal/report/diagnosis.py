"""A diagnosis as one self-contained html page: plots, tables and the worst errors on the timeline; no script."""

import base64
import hashlib
import html
from collections.abc import Sequence
from importlib.resources import files

from tal.diagnosis.result import Diagnosis
from tal.report import diagnosis_cases as cases
from tal.report import diagnosis_sections as sections
from tal.report.diagnosis_svg import tag, text


def render(result: Diagnosis, *, facts: Sequence[tuple[str, str]] = ()) -> str:
    """The page. Text from outside is escaped: it never becomes markup, a style or a script.

    Args:
        result: What `tal.diagnosis.run.diagnose` found.
        facts: Further (name, value) for the foot of the page.
    """
    style = (files("tal.report") / "diagnosis.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    parts = [part for part in _parts(result) if part[2]]
    menu = "".join(tag("li", tag("a", text(name), href=f"#{anchor}")) for anchor, name, _ in parts)
    body = "".join(tag("section", tag("h2", text(name)), inside, id=anchor) for anchor, name, inside in parts)
    title = text(f"{result.evaluation.title}: diagnosis")
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>{style}</style></head>\n<body>"
        f"{sections.header(result)}{tag('nav', tag('ul', menu), aria_label='Parts of the page')}"
        f"<main>{body}</main>{sections.footer(result, facts)}</body></html>\n"
    )


def _parts(result: Diagnosis) -> list[tuple[str, str, str]]:
    """(anchor, heading, markup) of each section; markup is empty where there is nothing to show."""
    return [
        ("overall", "How good, and what would help most", sections.overall(result)),
        ("false-positives", "False positives", sections.false_positives(result)),
        ("sensitivity", "Sensitivity to the instances", sections.sensitivity(result)),
        ("classes", "Classes", sections.classes(result)),
        ("comparison", "Comparison", sections.comparison(result)),
        ("errors", "Worst errors", cases.worst(result)),
        ("videos", "Their videos", cases.videos(result)),
    ]
