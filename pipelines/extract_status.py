"""tal extract --status: where a store stands."""

import json as json_format
import sys
from pathlib import Path
from typing import Any, Literal

from tal.atomic import write_text
from tal.features.survey import survey
from tal.pipelines.extract_inputs import read_inputs
from tal.pipelines.extract_stores import open_stores
from tal.version import RESULT_SCHEMA

_SHOWN = 10


def status(
    inputs: list[str] | None = None,
    *,
    status: Path,
    videos: Path | None = None,
    id: Literal["stem", "path"] = "stem",  # noqa: A002
    subset: list[str] | None = None,
    shard: str | None = None,
    json: str | None = None,
) -> int:
    """Tell what a store of tal extract holds, while it is worked on or afterwards.

    With the inputs that extraction was given, also which videos are missing and how long they will take. Exits 0 if
    all is done, 1 if something failed, is damaged or missing.

    Args:
        inputs: What tal extract was given, in any of its forms.
        status: The store, or the folder of several that --layers made.
        videos: Folder of the videos that tables and annotation files name.
        id: What a video is called; as tal extract was told.
        subset: Only these splits of tables and annotation files.
        shard: i/n, as 3/8: only the videos of the third of eight parts are looked for.
        json: Also write everything as JSON to this file; - writes it to standard output instead of the text.
    """
    stores = open_stores(status)
    named = None
    if inputs:
        named = read_inputs(inputs, videos=videos, rule=id, subset=subset or (), shard=shard).ids()
    told = [{"store": str(store.folder), **survey(store).as_dict(named)} for store in stores]
    whole = told[0] if len(told) == 1 else {"stores": told}
    text = json_format.dumps({"schema": RESULT_SCHEMA, **whole}, indent=1) + "\n"
    if json == "-":
        sys.stdout.write(text)
    else:
        for values in told:
            _show(values)
        if json is not None:
            write_text(Path(json), text)
    return 1 if any(values["failures"] or values["damaged"] or values["missing"] for values in told) else 0


def _show(values: dict[str, Any]) -> None:
    stages = ", ".join(f"{count} {stage}" for stage, count in sorted(values["failed"].items()))
    parts = [f"{values['done']} done", f"{len(values['failures'])} failed" + (f" ({stages})" if stages else "")]
    if values["missing"] is not None:
        parts.append(f"{len(values['missing'])} missing")
    parts.append(f"{values['in_work']} in work")
    print(f"{values['store']}: {', '.join(parts)}; {_size(values['bytes'])}")
    if values["videos_per_hour"] is not None:
        left = f"; {_span(values['left_s'])} left at this rate" if values["left_s"] else ""
        print(f"{values['videos_per_hour']:.0f} videos an hour lately{left}")
    _list("damaged", values["damaged"])
    _list("failed", [f"{each['id']}: {each['stage']}: {each['error']}" for each in values["failures"]])
    _list("missing", values["missing"] or [])


def _list(word: str, lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        print(f"  {word}: {line}")
    if len(lines) > _SHOWN:
        print(f"  {word}: and {len(lines) - _SHOWN} more; --json FILE lists them all")


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count} B"
        count /= 1024  # type: ignore[assignment]
    return f"{count:.3g} TiB"


def _span(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"
