"""A second service with the same bank: seconds until it is ready, against the first, which had everything compiled."""

import time

from benchmarks.banking.cluster import cluster, demo_service
from benchmarks.context import Context, say
from benchmarks.figures import Figure, Must

NAMES = ("second service with the same bank: seconds until ready",)
_MUST = Must("<=", 0.2)
_BUCKETS = [{"width": 128, "height": 128}, {"width": 160, "height": 96}, {"width": 96, "height": 160}]


def measure(context: Context) -> list[Figure]:
    """From `kubectl apply` to Ready; the model is shared too."""
    with cluster() as here:
        seconds = {}
        for name in ("first", "second"):
            say(f"the {name} service")
            began = time.monotonic()
            here.apply(demo_service(name, buckets=_BUCKETS, replicas=1))
            here.ready(name)
            seconds[name] = time.monotonic() - began
        bank = here.get("sdxltunebank")["items"][0]
    about = {
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "compileSeconds": bank["status"].get("compileSeconds"),
        "usedBy": bank["status"]["usedBy"],
    }
    return [Figure(NAMES[0], round(seconds["second"] / seconds["first"], 4), "of the first's", _MUST, about)]
