"""What a contributor runs: a cluster, the images, the demo. Nothing in here is part of the product."""
