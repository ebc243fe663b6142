"""What a hub answers and is worth another try: how often, how soon, and what is said in the end."""

import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sdxl_runtime.sources.repository import Hub
from sdxl_runtime.termination import Failure, Reason

LIST = "its list of files"
"""What a hub is asked for first, as sentences call it."""

WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a hub that does not answer is tried. Times are seconds."""

    tries: int = 7
    """In a row without a single new byte."""
    first_pause: float = 1.0
    """Doubled with each try."""
    longest_pause: float = 60.0
    """Of those that the hub did not ask for."""
    longest_wait: float = 900.0
    """A hub that asks for a longer one is left alone: the Job's own pause is better then."""
    timeout: float = 30.0
    """A connection that brings no byte for so long is cut."""
    copies: int = 3
    """A file whose content is not what is listed is loaded anew so often."""


PATIENCE = Patience()


class Transient(Exception):
    """Worth another try, `after` so many seconds if the hub said."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Tries:
    """Counts the tries of one thing that is asked of a hub, and pauses between them.

    `waits_for` is told why nothing comes, from the first try that was in vain until something came.
    """

    def __init__(
        self,
        hub: Hub,
        what: str,
        patience: Patience,
        waits_for: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.patience = patience
        self._hub, self._what, self._waits_for, self._sleep = hub, what, waits_for, sleep
        self._fruitless = 0

    def bore_fruit(self) -> None:
        """Something came; the count starts anew."""
        if self._fruitless:
            self._waits_for("")
        self._fruitless = 0

    def pause(self, error: Transient) -> None:
        """Wait for the next try.

        Raises:
            Failure: `SourceUnavailable`, there have been enough.
        """
        self._fruitless += 1
        asked = f", which asks to be left alone for {error.after:.0f} s" if error.after else ""
        if self._fruitless >= self.patience.tries or (error.after or 0) > self.patience.longest_wait:
            raise Failure(
                Reason.SOURCE_UNAVAILABLE,
                f"{self._hub.repository.source} cannot be fetched: {self._what}: {error}{asked}; tried "
                f"{self._fruitless} times. See that {_host(self._hub.page)} can be reached from the cluster, or name "
                "a proxy or a mirror in the chart's fetch.environment; what was loaded is kept",
            ) from error
        pause = self._pause_seconds() if error.after is None else error.after
        log.warning("%s: %s; try %d in %.1f s", self._what, error, self._fruitless + 1, pause)
        count = f"try {self._fruitless} of {self.patience.tries}"
        self._waits_for(f"{_host(self._hub.page)}, asked for {self._what} ({count}): {error}{asked}")
        self._sleep(pause)

    def _pause_seconds(self) -> float:
        full = min(self.patience.first_pause * 2.0 ** (self._fruitless - 1), self.patience.longest_pause)
        return full * random.uniform(0.5, 1.0)  # several Jobs that failed together do not come back together


def judge(hub: Hub, what: str, status: int, headers: Mapping[str, str]) -> None:
    """Nothing, if the answer is a good one.

    Raises:
        Transient: it is worth another try.
        Failure: `SourceUnauthorized`, `SourceNotFound` or `SourceUnavailable`, saying what to do.
    """
    if status < 400:
        return
    if status in WORTH_ANOTHER_TRY:
        raise Transient(f"the hub answered {status}", retry_after(headers))
    if status in (401, 403):
        raise unauthorized(hub, what, gated=headers.get("X-Error-Code") == "GatedRepo")
    source = hub.repository.source
    if status in (404, 410):
        raise Failure(Reason.SOURCE_NOT_FOUND, f"{source} lists {what}, but the hub does not have it: answer {status}")
    raise Failure(
        Reason.SOURCE_UNAVAILABLE, f"{source}: the hub answered {status} when asked for {what}; see {hub.page}"
    )


def unauthorized(hub: Hub, what: str, gated: bool = False) -> Failure:
    """The failure of a token that is missing or not enough."""
    licence = f"accept its licence at {hub.page}" if gated else f"see at {hub.page} whether it is private or gated"
    if hub.authenticated:
        text = f"the token may not read it: {licence} with the account of the token, or name another in tokenSecretRef"
    else:
        text = f"it asks for a token: {licence}, and name a Secret with a token in tokenSecretRef"
    return Failure(Reason.SOURCE_UNAUTHORIZED, f"{hub.repository.source} refuses {what}; {text}")


def no_repository(hub: Hub, what: str = "") -> Failure:
    """The failure of a repository, or of `what` of it, that the hub does not know or does not show."""
    private = "the token may not see it" if hub.authenticated else "it is private and needs a token in tokenSecretRef"
    return Failure(
        Reason.SOURCE_NOT_FOUND,
        f"{hub.repository.source}: there is no repository {hub.repository.id}{what} at {_host(hub.page)}, or {private}",
    )


def no_revision(hub: Hub) -> Failure:
    """The failure of a commit that the repository does not have."""
    return Failure(
        Reason.SOURCE_NOT_FOUND,
        f"{hub.repository.source} has no revision {hub.repository.revision}; its commits are at {hub.page}",
    )


def unreadable(hub: Hub, why: str) -> Failure:
    """The failure of a hub whose list of files cannot be used."""
    return Failure(
        Reason.SOURCE_UNAVAILABLE,
        f"{hub.repository.source}: what {_host(hub.page)} answers is no list of its files: {why[:200]}; "
        "see that a mirror in the chart's fetch.environment is one of this hub",
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a hub asks to wait, by Retry-After or by the RateLimit field of a spent quota; None: none."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    spent = re.search(r"\br=0\s*;\s*t=(\d+)", headers.get("RateLimit", ""))
    return float(spent[1]) if spent else None


def _host(page: str) -> str:
    return "/".join(page.split("/")[:3])
