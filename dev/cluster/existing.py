"""A cluster that somebody else made, used on request. Nothing of it is created or destroyed here."""

from __future__ import annotations

from pathlib import Path

from dev.shell import Failed, run, say


class ExistingCluster:
    """The cluster behind a kubeconfig."""

    name = "existing"

    def __init__(self, kubeconfig: Path) -> None:
        if not kubeconfig.is_file():
            raise Failed(f"there is no kubeconfig {kubeconfig}")
        self._kubeconfig = kubeconfig

    @property
    def kubeconfig(self) -> Path:
        return self._kubeconfig

    def up(self, nodes: int | None = None) -> None:
        """Only look whether it answers."""
        if nodes:
            say("  --nodes has no effect on an existing cluster")
        run(["kubectl", "--kubeconfig", self.kubeconfig, "get", "--raw", "/readyz"], timeout=15)

    def down(self) -> None:
        say(f"  the cluster of {self.kubeconfig} was not made by this tool and stays as it is")

    def load(self, references: list[str]) -> None:
        """Nothing can be brought to nodes we do not know."""
        say(f"  push these to a registry from which this cluster can pull: {', '.join(references)}")

    def status(self) -> bool:
        print(run(["kubectl", "--kubeconfig", self.kubeconfig, "get", "nodes", "-o", "wide"], timeout=15), end="")
        return True
