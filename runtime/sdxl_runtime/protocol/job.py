"""A job's answer: what `Prefer: respond-async` returns, and what its URL tells."""

from typing import Literal

from pydantic import BaseModel

from sdxl_runtime.protocol.answers import ErrorDetail, GenerationResponse

JobStatus = Literal["queued", "running", "completed", "failed", "cancelled"]


class JobProgress(BaseModel):
    """Denoising steps, counted over all pictures of the job."""

    step: int
    steps: int


class JobResponse(BaseModel):
    """A job as it stands. A completed one has `result`, a failed or cancelled one `error`."""

    id: str
    object: Literal["image.job"] = "image.job"
    status: JobStatus
    created_at: int
    """Unix time in seconds."""
    expires_at: int
    """Unix time in seconds: after this the id is no longer known."""
    progress: JobProgress
    error: ErrorDetail | None = None
    result: GenerationResponse | None = None
