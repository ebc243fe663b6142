"""A damaged bank on the real cluster: the replica serves without its entry, status says so, and it is made again."""

from collections.abc import Mapping

from tests.e2e.volumes import on_claim
from tests.e2e.world import Namespace, Object, condition, simulated_service

FLIP = """
import glob
(path,) = glob.glob("/volume/tune-bank/*/128x128b1/manifest.json")
with open(path, "r+b") as file:
    first = file.read(1)
    file.seek(0)
    file.write(bytes([first[0] ^ 1]))
print(path)
"""


def replicas(namespace: Namespace) -> list[Object]:
    """The pods that serve and are not on their way out."""
    pods = namespace.items("pods", "-l", "sdxl.dev/service=studio")
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def flip_a_byte(namespace: Namespace, image: str) -> None:
    """As a disk would: behind everybody's back, on the bank's volume."""
    (bank,) = namespace.items("sdxltunebanks")
    on_claim(namespace, image, bank["status"]["claimName"], FLIP)


def test_a_flipped_byte_is_told_made_again_and_taken_up_without_a_restart(
    namespace: Namespace, built: Mapping[str, str]
) -> None:
    namespace.apply(simulated_service())
    service = namespace.wait_ready()
    assert service["status"]["buckets"][0]["entry"] == "Loaded"
    flip_a_byte(namespace, built["operator"])
    (before,) = replicas(namespace)
    namespace.run("delete", "pod", before["metadata"]["name"], "--wait=false")
    told = namespace.wait(
        lambda: condition(namespace.service(), "BankReady"), lambda found: found["reason"] == "Corrupt", 90
    )
    assert "128x128b1" in told["message"]
    namespace.wait(lambda: condition(namespace.service(), "Available")["status"], lambda status: status == "True", 30)
    (during,) = replicas(namespace)
    service = namespace.wait_ready(seconds=120)
    assert service["status"]["buckets"][0]["entry"] == "Loaded"
    (after,) = replicas(namespace)
    assert after["metadata"]["uid"] == during["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
