"""Resources as the tests need them: small, valid, and changed by a nested mapping."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.naming import API_VERSION, Object
from sdxl_operator.plan.resolved import Resolved

REPOSITORY = Path(__file__).parents[2]
NAMESPACE = "team"
NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
DIGEST = "sha256:" + "d" * 64
IMAGE = "example.org/sdxl-runtime:1"


def at(seconds: float) -> str:
    """A time so many seconds from the tests' beginning, as Kubernetes writes it."""
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> Object:
    """`base` with `change` over it, mapping by mapping; None takes a member away."""
    out: Object = dict(base)
    for name, value in change.items():
        if value is None:
            out.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(out.get(name), Mapping):
            out[name] = merged(out[name], value)
        else:
            out[name] = value
    return out


def service_spec(change: Mapping[str, Any] | None = None) -> Object:
    """The spec of a service that compiles one bucket on plain CPUs."""
    return merged({"model": {"source": "demo://shapes"}, "buckets": [{"width": 128, "height": 128}]}, change or {})


def a_service(change: Mapping[str, Any] | None = None, name: str = "studio", **metadata: Any) -> Object:
    """An SDXLService as the API server returns it."""
    identity = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "generation": 1, "resourceVersion": "1"}
    return {
        "apiVersion": API_VERSION,
        "kind": "SDXLService",
        "metadata": {**identity, "creationTimestamp": at(0), **metadata},
        "spec": service_spec(change),
    }


def a_profile(name: str = "cpu", change: Mapping[str, Any] | None = None) -> Object:
    """An AcceleratorProfile."""
    spec = {"backend": "CPU", "image": IMAGE, "recommendedCompileMode": "AheadOfTime"}
    return {
        "apiVersion": API_VERSION,
        "kind": "AcceleratorProfile",
        "metadata": {"name": name},
        "spec": merged(spec, change or {}),
    }


def chart_profile(name: str) -> Object:
    """A profile of the chart, with an image as the chart fills it in."""
    values = yaml.safe_load((REPOSITORY / "charts/sdxl-operator/values.yaml").read_text())
    return a_profile(name, {"recommendedCompileMode": None, **values["profiles"][name]["spec"], "image": IMAGE})


def resolved(
    change: Mapping[str, Any] | None = None, profile: Mapping[str, Any] | None = None, name: str = "studio"
) -> Resolved:
    """A service with its profile, past acceptance."""
    spec = ServiceSpec.model_validate(service_spec(change))
    return Resolved(NAMESPACE, name, spec, ProfileSpec.model_validate((profile or a_profile())["spec"]))


def owner(kind: str, name: str, spec: Object, status: Object | None = None) -> Object:
    """A resource that owns children."""
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "generation": 1}
    found = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    return found if status is None else {**found, "status": status}
