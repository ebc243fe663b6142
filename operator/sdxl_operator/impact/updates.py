"""What `UpdateAvailable` offers: how the pods would differ that this operator and the profile of today make. Pure."""

from collections.abc import Mapping
from typing import Any

from sdxl_operator.difference import Difference, Labels, by, differences
from sdxl_operator.impact import Impact, of_profile
from sdxl_operator.impact.kinds import worst
from sdxl_operator.plan.resolved import Resolved

POD_LABELS: Labels = {
    "spec.containers": by("name"),
    "spec.containers[].env": by("name"),
    "spec.containers[].ports": by("name"),
    "spec.containers[].volumeMounts": by("mountPath"),
    "spec.imagePullSecrets": by("name"),
    "spec.initContainers": by("name"),
    "spec.initContainers[].env": by("name"),
    "spec.initContainers[].volumeMounts": by("mountPath"),
    "spec.topologySpreadConstraints": by("topologyKey", "whenUnsatisfiable"),
    "spec.volumes": by("name"),
}
"""The merge keys of a pod's lists."""

SHOWN = 6


def offered(frozen: Resolved, fresh: Resolved, stored: Mapping[str, Any], rendered: Mapping[str, Any]) -> str:
    """What the next edit that replaces pods brings beside itself, and its cost; empty if the templates are equal."""
    found = list(differences(stored, rendered, POD_LABELS))
    if not found:
        return ""
    impact = worst((of_profile(frozen, fresh).impact, Impact.RESTART))
    images_first = sorted(found, key=lambda difference: not _is_image(difference))
    words = [difference.words for difference in images_first[:SHOWN]]
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return f"The next edit that replaces pods also brings ({impact}) {'; '.join([*words, *more])}"


def _is_image(difference: Difference) -> bool:
    return difference.field.endswith("ontainers[].image")
