"""Requests that run apart from whoever asked: jobs that outlive their client, and requests that are sent twice."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from sdxl_runtime.app.errors import APIError
from sdxl_runtime.app.shelf import Shelf
from sdxl_runtime.jobs import Ticket
from sdxl_runtime.protocol import JobProgress, JobResponse, JobStatus
from sdxl_runtime.signing import Kind, Signer

LIVES_SECONDS = 3600
"""A job's result is kept so long after it ended, as is the answer to an idempotency key."""
MOST_BYTES = 256 * 1024 * 1024
MOST_TASKS = 1000
"""Of ended tasks; those that run are bounded by the queue."""

Binding = tuple[bytes, str]
"""Who holds the API key, and the idempotency key."""


@dataclass(eq=False, slots=True)
class Task:
    """An accepted request from its ticket to its answer."""

    key: bytes
    token: str
    """The job's id."""
    created_at: int
    expires_at: int
    """Unix times in seconds."""
    ticket: Ticket | None
    """None once it has ended: an edit's pictures are in it."""
    progress: JobProgress
    detached: bool = False
    """It goes on when nobody waits for it."""
    binding: Binding | None = None
    """The idempotency key that finds it."""
    waiters: int = 0
    answer: bytes | None = None
    """`GenerationResponse` as JSON."""
    error: APIError | None = None
    cancelled: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    """For the log lines of the requests that wait for it."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    runner: "asyncio.Task[None] | None" = None

    @property
    def status(self) -> JobStatus:
        """Where it is in its life."""
        if self.cancelled:
            return "cancelled"
        if self.error is not None:
            return "failed"
        if self.answer is not None:
            return "completed"
        return "queued" if self.ticket is None or self.ticket.bucket is None else "running"

    def to_json(self) -> bytes:
        """`JobResponse`. The answer is put in as it is: it may have megabytes, and was validated when it was made."""
        if self.ticket is not None:
            self.progress = JobProgress(step=self.ticket.evaluations, steps=self.progress.steps)
        head = JobResponse(
            id=self.token,
            status=self.status,
            created_at=self.created_at,
            expires_at=self.expires_at,
            progress=self.progress,
            error=None if self.error is None else self.error.body.error,
        )
        text = head.model_dump_json(exclude_none=True).encode()
        return text if self.answer is None else text[:-1] + b',"result":' + self.answer + b"}"


@dataclass(eq=False, slots=True)
class _Bound:
    fingerprint: bytes
    starting: "asyncio.Future[Task]"


class Tasks:
    """All tasks of a replica, for one event loop. `abandon` takes a ticket off the device."""

    def __init__(self, signer: Signer, abandon: Callable[[Ticket], None]) -> None:
        self._signer = signer
        self._abandon = abandon
        self._running: dict[bytes, Task] = {}
        self._ended: Shelf[Task] = Shelf(MOST_BYTES, MOST_TASKS, LIVES_SECONDS, self._unbind)
        self._bound: dict[Binding, _Bound] = {}

    def add(self, ticket: Ticket, seconds_left: float) -> Task:
        """The task of a ticket that was just accepted and has so many seconds."""
        lives = seconds_left + LIVES_SECONDS
        token, claim = self._signer.issue(Kind.JOB, lives)
        progress = JobProgress(step=0, steps=ticket.job.evaluations)
        task = Task(claim.id, token, int(self._signer.clock()), claim.expires_at, ticket, progress)
        self._running[task.key] = task
        return task

    def find(self, key: bytes) -> Task | None:
        """A task that runs or is kept; one that has ended counts as fetched from now on."""
        return self._running.get(key) or self._ended.get(key)

    async def once(self, binding: Binding, fingerprint: bytes, start: Callable[[], Awaitable[Task]]) -> Task:
        """The task of an idempotency key: the one it has, or a new one, which the key finds from now on.

        Only a success is remembered: what was refused, failed or was cancelled may be tried again under its key.

        Raises:
            APIError: 422, the key was used for another request; or what `start` raises.
        """
        while True:
            bound = self._bound.get(binding)
            if bound is None:
                bound = self._bound[binding] = _Bound(fingerprint, asyncio.ensure_future(self._begin(binding, start)))
            if bound.fingerprint != fingerprint:
                raise APIError(
                    422,
                    "Idempotency-Key was used for another request; a new request needs a new key",
                    "idempotency_key_reused",
                )
            # Shielded: the first request may be cancelled while others wait for what it began.
            task = await asyncio.shield(bound.starting)
            if not task.cancelled:
                return task

    def end(self, task: Task, answer: bytes | None, error: APIError | None) -> None:
        """Tell who waits, and keep what somebody may still ask for; nothing happens to a task that has ended."""
        if task.ticket is None:
            return
        del self._running[task.key]
        task.progress = JobProgress(step=task.ticket.evaluations, steps=task.progress.steps)
        task.answer, task.error, task.ticket = answer, error, None
        if error is not None:
            self._unbind(task)
        if task.detached or task.binding is not None:
            self._ended.put(task.key, task, len(answer or b""))
        task.ended.set()

    def cancel(self, task: Task) -> None:
        """End a task; its place on the device is free within a step. Nothing happens to one that has ended."""
        if task.ticket is not None:
            task.cancelled = True
            self._abandon(task.ticket)
            self.end(task, None, APIError(409, "the job was cancelled", "job_cancelled"))

    def forget(self, task: Task) -> None:
        """Let go of a task that has ended, and of its idempotency key."""
        self._ended.pop(task.key)

    def awaited(self, seconds: float) -> bool:
        """Whether a task runs, or ended within the last seconds and was not fetched yet."""
        return bool(self._running) or self._ended.awaited(seconds)

    async def _begin(self, binding: Binding, start: Callable[[], Awaitable[Task]]) -> Task:
        try:
            task = await start()
        except BaseException:
            del self._bound[binding]
            raise
        task.binding = binding
        return task

    def _unbind(self, task: Task) -> None:
        if task.binding is not None:
            del self._bound[task.binding]
            task.binding = None
