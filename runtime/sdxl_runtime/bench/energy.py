"""Energy over a run, from counters that an exporter of the server's machine publishes; nothing is estimated.

Known are counters in joules by Prometheus' naming (`…_joules_total`: the node exporter's RAPL, Kepler) and DCGM's
`DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION` in millijoules. They count the whole device, whoever uses it.
"""

from collections.abc import Mapping

import httpx2
from prometheus_client.parser import text_string_to_metric_families

_DCGM = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"


def joules(text: str) -> dict[str, float]:
    """The energy counters of a page in Prometheus' text format: joules by name, its series added up.

    Raises:
        ValueError: the page is not in that format.
    """
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            dcgm = sample.name.removesuffix("_total") == _DCGM  # the parser ends every counter's name so
            if dcgm or sample.name.endswith("_joules_total"):
                name, scale = (_DCGM, 1e-3) if dcgm else (sample.name, 1.0)
                found[name] = found.get(name, 0.0) + sample.value * scale
    return found


async def read(url: str) -> dict[str, float]:
    """The energy counters at a URL; empty where it publishes none.

    Raises:
        httpx2.HTTPError: it does not answer.
        ValueError: what it answers is no page of metrics.
    """
    async with httpx2.AsyncClient(timeout=10) as client:
        response = await client.get(url)
        response.raise_for_status()
        return joules(response.text)


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Joules by counter between two readings; a counter that started anew in between is left out."""
    return {name: after[name] - value for name, value in before.items() if name in after and after[name] >= value}
