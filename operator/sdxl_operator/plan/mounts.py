"""What a replica mounts: the files of its models, the bank and what of it may be loaded, and its two Secrets."""

from sdxl_operator.naming import Object
from sdxl_operator.plan import signing
from sdxl_operator.plan.pod import OWNER_AND_GROUP_READ, claim_mounts
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.plan.weights import claim_name

ACCEPTED_PATH = "/etc/sdxl/accepted"
KEYS_PATH = "/etc/sdxl/keys"
SIGNING_PATH = "/etc/sdxl/signing"


COMPILED_PATH = "/etc/sdxl/compiled"
"""Where a replica's own init container leaves the digests of what it kept."""


def of_init_container(service: Resolved, mounts: list[Object]) -> list[Object]:
    """The mounts of a container that compiles before a replica serves: its model, and the bank to be written."""
    wanted = {service.model.mount: True, "/bank": False}
    own = [{**item, "readOnly": wanted[item["mountPath"]]} for item in mounts if item["mountPath"] in wanted]
    return [*own, {"name": "compiled", "mountPath": COMPILED_PATH, "readOnly": False}]


def of_replica(service: Resolved) -> tuple[list[Object], list[Object]]:
    """The volumes of the pod and their mounts in the container; all are read-only."""
    claims = [(item.claim, item.mount, True) for item in service.weights]
    if service.bank is not None and service.bank_name is not None:
        bank = (claim_name(service.bank["volume"], service.bank_name), "/bank", True)
        claims.insert(1, bank)  # before the refiner's and the adapters', which come and go
    volumes, mounts = claim_mounts(claims)
    for volume, path in _files(service):
        volumes.append(volume)
        mounts.append({"name": volume["name"], "mountPath": path, "readOnly": True})
    return volumes, mounts


def _files(service: Resolved) -> list[tuple[Object, str]]:
    found: list[tuple[Object, str]] = []
    if service.bank_name is not None:
        accepted = {"name": "accepted", "configMap": {"name": f"{service.bank_name}-accepted"}}
        found.append((accepted, ACCEPTED_PATH))
    key = {"key": signing.KEY_FILE, "path": signing.KEY_FILE}
    found.append((_secret(signing.VOLUME, signing.name_of(service.name), items=[key]), SIGNING_PATH))
    keys = service.spec.auth.api_keys_secret_ref
    if keys is not None:
        found.append((_secret("api-keys", keys.name), KEYS_PATH))
    return found


def _secret(volume: str, name: str, **more: object) -> Object:
    return {"name": volume, "secret": {"secretName": name, "defaultMode": OWNER_AND_GROUP_READ, **more}}
