"""What a kubeconfig says besides where the API server is."""

from pathlib import Path

from kubernetes.aio.config import KUBE_CONFIG_DEFAULT_LOCATION, ConfigException, list_kube_config_contexts

from sdxl_operator.cluster.errors import Unavailable

DEFAULT_NAMESPACE = "default"


def current_namespace(kubeconfig: Path | None = None, context: str = "") -> str:
    """The namespace of a context, of the current one where none is named; `default` where it says nothing.

    Raises:
        Unavailable: there is no such context, or the file cannot be read.
    """
    try:
        contexts, current = list_kube_config_contexts(str(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION))
    except (ConfigException, OSError) as error:
        raise Unavailable(0, "NoCredentials", f"no API server is configured: {error}") from None
    named = next((item for item in contexts if item["name"] == context), None) if context else current
    if named is None:
        known = ", ".join(sorted(item["name"] for item in contexts))
        raise Unavailable(0, "NoCredentials", f"there is no context {context!r} in the kubeconfig; there are: {known}")
    return str(named["context"].get("namespace") or DEFAULT_NAMESPACE)
