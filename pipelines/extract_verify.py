"""tal extract --verify: is what stands in a store whole, and does it make sense?"""

from dataclasses import replace
from pathlib import Path

from tal.annotations.reading import read_annotations
from tal.features.verify import readable_ids as ids
from tal.features.verify import verify as verify_store
from tal.pipelines.extract_stores import open_stores
from tal.pipelines.finding_table import tell


def verify(*, verify: Path, annotations: Path | None = None, json: str | None = None) -> int:
    """Read every array of a store of tal extract, and find what is wrong with it.

    Compares arrays with their hashes and grids with durations; finds values that are not finite, snippets that are
    all zero, videos whose snippets are all the same; with annotations, videos of different splits that are nearly the
    same. Exits 0 if nothing is wrong, 1 with findings. What is damaged is made anew once its .json file is removed and
    tal extract runs again.

    Args:
        verify: The store, or the folder of several that --layers made.
        annotations: File that tells the videos' splits and durations.
        json: Also write everything as JSON to this file; - writes it to standard output instead of the table.
    """
    stores = open_stores(verify)
    records = read_annotations(annotations).videos if annotations is not None else {}
    durations_s = {video: record.duration_s for video, record in records.items()}
    subsets = {video: record.subset for video, record in records.items()}
    found = []
    for store in stores:
        name = f"{store.folder.name}: " if len(stores) > 1 else ""
        told = verify_store(store, durations_s=durations_s, subsets=subsets)
        found += [replace(finding, message=f"{name}{finding.message}") for finding in told]
    count = max(len(ids(store)) for store in stores)
    folders = [str(store.folder) for store in stores]
    tell(found, {"features": folders, "videos": count}, [f"features of {count} videos in {verify}"], json)
    return 1 if found else 0
