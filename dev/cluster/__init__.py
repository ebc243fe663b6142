"""A Kubernetes cluster to develop and test on: kind where Docker is, else one of our own making. See README.md here."""
