"""The server most people write: FastAPI and a lock around the pipeline:
`python -m benchmarks.peers.one_lock FOLDER SIZE PORT`.
"""

import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from benchmarks.peers.painting import Asked, answer, load, paint, warm_up


def create_app(pipeline: Any) -> FastAPI:
    """One picture at a time; everybody else waits for the lock."""
    app = FastAPI()
    lock = threading.Lock()

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post("/v1/images/generations")
    def generate(body: dict[str, Any]) -> dict[str, Any]:
        with lock:
            (png,) = paint(pipeline, [Asked.from_json(body)])
        return answer(png)

    return app


def main(folder: Path, size: int, port: int) -> None:
    """Serve until the process is ended."""
    pipeline = load(folder)
    warm_up(pipeline, size, (1,))
    uvicorn.run(create_app(pipeline), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
