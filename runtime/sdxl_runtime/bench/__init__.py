"""`sdxl-runtime bench URL`: load on any OpenAI-compatible image endpoint, and what came of it. No torch.

schedule (pure: what is sent and when) → client (one request, one record) → load (closed loop or Poisson) → summary
(pure: throughput, percentiles, goodput) → report (table, JSON) and plot.
"""

from sdxl_runtime.bench.command import main

__all__ = ["main"]
