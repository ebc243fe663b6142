"""What is known of one request after it ended."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

REJECTED = frozenset({429, 503})
"""A server that says no instead of letting everybody wait."""
NO_ANSWER = 0
"""The status of a request without an HTTP answer: connection lost, or time over."""


@dataclass(frozen=True, slots=True)
class Record:
    """Times are seconds from the start of the run, on one clock."""

    index: int
    due: float
    """When it was to be sent: latency counts from here, so that a late client cannot flatter the server."""
    ended: float
    status: int
    """HTTP status; 0: no answer."""
    error: str = ""
    """Why there are no pictures: the server's code, or what the connection failed with."""
    images: int = 0
    size: str = ""
    """`WIDTHxHEIGHT`, as answered or else as asked."""
    steps: int = 0
    """Denoising steps of each picture, as answered or else as asked; 0: neither says."""
    evaluations: int = 0
    """UNet evaluations as the server counts them; 0 where it does not tell."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds by phase, where the server tells them."""
    bucket: str = ""
    first_preview: float | None = None
    """Seconds from `due` to the first partial image of a stream."""
    previews: int = 0

    @property
    def latency(self) -> float:
        """Seconds from when it was due to its end."""
        return self.ended - self.due

    @property
    def ok(self) -> bool:
        """Whether pictures came."""
        return self.images > 0 and not self.error

    @property
    def rejected(self) -> bool:
        """Whether the server said that it is too busy."""
        return self.status in REJECTED

    def to_json(self) -> dict[str, Any]:
        """Every member, and the latency."""
        return {**asdict(self), "latency": self.latency}
