"""Findings on the screen and as JSON: what `tal check` and `tal extract --verify` end with."""

import json as json_format
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tal.annotations.findings import Finding
from tal.atomic import write_text
from tal.version import RESULT_SCHEMA

_SHOWN = 5


def tell(found: Sequence[Finding], checked: Mapping[str, Any], what: Sequence[str], json: str | None) -> None:
    """Print the findings, kind by kind, or write them as JSON.

    Args:
        found: The findings.
        checked: What was looked at, for JSON.
        what: The same in words.
        json: Also write everything to this file; "-": to standard output instead of the table.
    """
    kinds = {
        kind: sum(finding.kind == kind for finding in found) for kind in dict.fromkeys(each.kind for each in found)
    }
    whole = {
        "schema": RESULT_SCHEMA,
        "checked": checked,
        "counts": kinds,
        "findings": [finding.as_dict() for finding in found],
    }
    text = json_format.dumps(whole, indent=1) + "\n"
    if json == "-":
        sys.stdout.write(text)
        return
    _show(found, kinds, what)
    if json is not None:
        write_text(Path(json), text)


def _show(found: Sequence[Finding], kinds: Mapping[str, int], what: Sequence[str]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    console.print(escape("checked " + ", ".join(what)))
    for kind, count in kinds.items():
        console.print(f"[bold yellow]{count} {kind.replace('_', ' ')}[/]")
        told = [finding for finding in found if finding.kind == kind]
        for finding in told[:_SHOWN]:
            cause = f" ({finding.cause})" if finding.cause else ""
            console.print(f"  {escape(finding.message)}[dim]{escape(cause)}[/]")
        if count > _SHOWN:
            console.print(f"  [dim]and {count - _SHOWN} more; --json FILE lists them all[/]")
    console.print("[green]nothing wrong[/]" if not found else f"[bold]{len(found)} findings[/]")
