"""The parts of `make bench-runtime`, a module each: what it does, and the figures that come of it."""
