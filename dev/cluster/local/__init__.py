"""A real Kubernetes on this machine without a container engine.

The control plane and each node live in a network namespace of their own; a node has a mount namespace as well, so that
what kubelet and containerd mount or leave in system folders never reaches the host. Everything that runs is started
from the run folder and put into one cgroup, which is how `down` finds all of it, whatever a killed run left behind.
"""
