"""tal extract --pack: many videos of a store in few files."""

from pathlib import Path

from tal.features.packing import pack as pack_store
from tal.pipelines.extract_stores import open_stores


def pack(*, pack: Path, out: Path | None = None) -> int:
    """Put the finished videos of a store into tars of about a GiB, for stores of more than 100,000 videos.

    Everything that reads a store reads packed videos too, and tal extract does none of them again; what it adds stands
    beside them until it is packed in its turn. May be stopped at any time and run again. Exit code 1 if a damaged
    video was left as it is.

    Args:
        pack: The store, or the folder of several that --layers made. Its videos' own files are removed once they are
            packed.
        out: Folder of another store to write the tars to; then nothing is removed.
    """
    stores = open_stores(pack)
    damaged = 0
    for store in stores:
        target = out / store.folder.name if out is not None and len(stores) > 1 else out
        done = pack_store(store, target)
        damaged += len(done.damaged)
        before = f", {done.known} were packed before" if done.known else ""
        left = f", {len(done.damaged)} damaged ones left" if done.damaged else ""
        print(f"{target or store.folder}: {done.packed} videos packed into {done.tars} tars{before}{left}")
        for video, reason in done.damaged.items():
            print(f"  damaged: {video}: {reason}")
    return 1 if damaged else 0
