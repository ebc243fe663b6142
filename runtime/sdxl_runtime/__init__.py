"""The runtime of SDXL services: one program that serves, compiles, fetches and identifies.

A request travels `app → jobs → buckets → batcher → engine → pipeline (device) → images → app`.
`serve` only loads what `compile` published; where the bank has nothing for a bucket it serves eager and says so.
`docs/contract.md` is what this package and the operator agree on.
"""

__version__ = "0.1.0"
