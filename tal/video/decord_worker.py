"""The process in which decord runs: frame numbers come in as lines of JSON, frames go out as a line and their bytes."""

import json
import os
import sys


def serve(path: str, threads: int) -> None:
    """Answer until the input ends.

    First line out: {"frames": N}, or {"error": reason}. For each line in, a JSON list of ascending frame numbers, a
    line {"shape": [n, h, w, 3], "times_s": [n times after the first frame]} and that many bytes, or {"error": reason}.
    """
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What the library prints must not come between.
    import decord

    def answer(values: dict[str, object], data: bytes = b"") -> None:
        out.write(json.dumps(values).encode() + b"\n" + data)
        out.flush()

    try:
        reader = decord.VideoReader(path, num_threads=threads)
        first_s = float(reader.get_frame_timestamp(0)[0])
        answer({"frames": len(reader)})
    except (decord.DECORDError, RuntimeError) as error:
        answer({"error": _reason(error)})
        return
    for line in sys.stdin.buffer:
        numbers = json.loads(line)
        try:
            pixels = reader.get_batch(numbers).asnumpy()
            times_s = [float(reader.get_frame_timestamp(number)[0]) - first_s for number in numbers]
        except (decord.DECORDError, RuntimeError, IndexError) as error:
            answer({"error": _reason(error)})
            continue
        answer({"shape": list(pixels.shape), "times_s": times_s}, pixels.tobytes())


def _reason(error: Exception) -> str:
    """decord's message without the places in its source."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text.rpartition("Check failed: ")[2] or text


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
