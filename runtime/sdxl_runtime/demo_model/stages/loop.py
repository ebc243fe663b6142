"""What the stages of training share: optimiser, schedule, averaged weights, checkpoints, the log.

A stage runs for a number of minutes, not of steps: on a shared machine only the former can be promised, and the
learning rate must have come down when they are over.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

_WARM_UP_STEPS = 100
_LOG_EVERY = 25
_SAVE_EVERY_SECONDS = 60.0


class Loop:
    """One stage's training of one module, alone or together with other processes that hold the same module."""

    def __init__(
        self,
        name: str,
        module: nn.Module,
        out: Path,
        minutes: float,
        rate: float,
        *,
        decay: float = 0.995,
        first_rank: bool = True,
    ) -> None:
        """`rate` is the highest learning rate, `decay` that of the averaged weights, per step."""
        self.name, self.module, self.out, self.seconds, self.rate, self.decay = (
            name,
            module,
            out,
            minutes * 60,
            rate,
            decay,
        )
        self.first_rank = first_rank
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=rate, betas=(0.9, 0.99), weight_decay=1e-4)
        self.averaged = copy.deepcopy(module).requires_grad_(False)
        self.step, self.elapsed = 0, 0.0
        self._losses: list[float] = []
        self._resume()
        self._saved_at = self._began = time.monotonic() - self.elapsed

    @property
    def checkpoint(self) -> Path:
        """Where the stage's state lies; a stage that finds one goes on from it."""
        return self.out / f"{self.name}.pt"

    def steps(self) -> Iterator[float]:
        """Yield the progress (0 to 1) before each step, until the minutes are over."""
        progress = min(1.0, self.elapsed / self.seconds)
        while progress < 1.0:
            warm = min(1.0, (self.step + 1) / _WARM_UP_STEPS)
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
            yield progress
            progress = self._shared_progress
        if self.first_rank:
            self._save()

    def descend(self, loss: Tensor) -> None:
        """Take one step down the loss, averaged over all processes."""
        self.optimiser.zero_grad(set_to_none=False)
        loss.backward()  # type: ignore[no-untyped-call]
        self.elapsed = time.monotonic() - self._began
        self._shared_progress = self._average_gradients(self.elapsed / self.seconds)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(self.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.averaged.parameters(), self.module.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        self._losses.append(float(loss.detach()))
        if self.first_rank:
            self._report()

    def _average_gradients(self, progress: float) -> float:
        """Average gradients over the processes, and with them the progress, so that all stop at the same step."""
        if not dist.is_initialized():
            return progress
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        flat = torch.cat([*(g.flatten() for g in grads), torch.tensor([progress])])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for grad, mean in zip(grads, torch.split(flat[:-1], [g.numel() for g in grads]), strict=True):
            grad.copy_(mean.view_as(grad))
        return float(flat[-1])

    def _report(self) -> None:
        if self.step % _LOG_EVERY == 0:
            recent = self._losses[-_LOG_EVERY:]
            loss = sum(recent) / len(recent)
            left = self.seconds - self.elapsed
            print(f"{self.name} step {self.step} loss {loss:.4f} {self.elapsed:.0f} s, {left:.0f} s left", flush=True)
            self.out.mkdir(parents=True, exist_ok=True)
            with (self.out / f"{self.name}.csv").open("a", newline="") as file:
                csv.writer(file).writerow([self.step, f"{self.elapsed:.0f}", f"{loss:.5f}"])
        if time.monotonic() - self._saved_at > _SAVE_EVERY_SECONDS:
            self._save()
            self._saved_at = time.monotonic()

    def _save(self) -> None:
        state = {
            "module": self.module.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
        }
        fresh = self.checkpoint.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self.checkpoint)

    def _resume(self) -> None:
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint)
            self.module.load_state_dict(state["module"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.elapsed = state["step"], state["elapsed"]


def averaged_weights(name: str, out: Path) -> dict[str, Tensor]:
    """The averaged weights that a stage has saved last."""
    weights: dict[str, Tensor] = torch.load(out / f"{name}.pt")["averaged"]
    return weights


@contextlib.contextmanager
def half_precision() -> Iterator[None]:
    """Compute in bfloat16 where that is safe and the processor has it; weights stay in float32.

    Where it has not, bfloat16 takes ten times as long as float32.
    """
    able = torch.cpu.get_capabilities()
    with torch.autocast("cpu", torch.bfloat16, enabled=bool(able.get("avx512_bf16") or able.get("amx_bf16"))):
        yield
