"""The two HTTP applications: the public API and the internal port. Routes and error mapping; no torch."""

from sdxl_runtime.app.internal import create_internal_app
from sdxl_runtime.app.public import create_public_app
from sdxl_runtime.app.service import Service

__all__ = ["Service", "create_internal_app", "create_public_app"]
