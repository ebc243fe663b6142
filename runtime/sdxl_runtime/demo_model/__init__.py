"""A real SDXL pipeline of a few megabytes, trained on drawn shapes; see README.md for what it can do."""
