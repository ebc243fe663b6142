"""kubectl itself, for what it does best: what an apply of a file would make of an object, and logs of many pods."""

import asyncio
import shutil
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from typing import Protocol

from sdxl_operator.kubectl.errors import CommandError


class Kubectl(Protocol):
    """The program, already told which cluster."""

    async def read(self, arguments: Sequence[str]) -> str:
        """What it prints; CommandError with its own words where it fails."""

    async def show(self, arguments: Sequence[str]) -> None:
        """Let it print to the terminal; CommandError where it fails."""


class InstalledKubectl:
    """The one in the path."""

    def __init__(self, connection: Sequence[str]) -> None:
        self._connection = connection
        """`--context` and the like, for every call."""

    async def read(self, arguments: Sequence[str]) -> str:
        """See `Kubectl`."""
        process = await asyncio.create_subprocess_exec(*self._line(arguments), stdout=PIPE, stderr=PIPE)
        printed, complaint = await process.communicate()
        if process.returncode:
            raise CommandError(complaint.decode(errors="replace").strip() or f"kubectl ended with {process.returncode}")
        return printed.decode()

    async def show(self, arguments: Sequence[str]) -> None:
        """See `Kubectl`."""
        process = await asyncio.create_subprocess_exec(*self._line(arguments))
        if code := await process.wait():
            raise CommandError(f"kubectl {arguments[0]} ended with {code}")

    def _line(self, arguments: Sequence[str]) -> list[str]:
        program = shutil.which("kubectl")
        if program is None:
            raise CommandError(f"kubectl is not in PATH, and `{arguments[0]}` is its work")
        return [program, *arguments, *self._connection]
