"""The parts of `make bench-bank`, a module each: what it does, and the figures that come of it."""
