"""diffusers in a loop, without a server: `python -m benchmarks.peers.bare FOLDER SIZE`.

Reads a request per line from standard input and answers with the seconds its picture took, so that it can take turns
with others.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.peers.painting import Asked, load, paint, warm_up


def main(folder: Path, size: int) -> None:
    """Answer line by line until the input ends."""
    pipeline = load(folder)
    warm_up(pipeline, size, (1,))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = Asked.from_json(json.loads(line))
        began = time.perf_counter()
        paint(pipeline, [asked])
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
