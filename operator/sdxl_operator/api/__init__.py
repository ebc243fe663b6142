"""The custom resources as pydantic models: the public contract. `sdxl_operator.crd` turns them into crds/."""

from sdxl_operator.api.bank import BANK_KIND, BankSpec, BankStatus
from sdxl_operator.api.model import MODEL_KIND, ModelSpec, ModelStatus
from sdxl_operator.api.profile import PROFILE_KIND, ProfileSpec
from sdxl_operator.api.resource import KindDefinition
from sdxl_operator.api.service import SERVICE_KIND, ServiceSpec
from sdxl_operator.api.service_status import ServiceStatus

KINDS: tuple[KindDefinition, ...] = (SERVICE_KIND, MODEL_KIND, BANK_KIND, PROFILE_KIND)
"""Every kind of the group."""

__all__ = [
    "KINDS",
    "BankSpec",
    "BankStatus",
    "KindDefinition",
    "ModelSpec",
    "ModelStatus",
    "ProfileSpec",
    "ServiceSpec",
    "ServiceStatus",
]
