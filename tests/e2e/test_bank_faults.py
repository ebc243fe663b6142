"""What can befall a tune bank: its Job killed, its volume full or emptied, two writers; what costs nothing twice."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from dev.cluster.local.cluster import LocalCluster
from dev.cluster.provider import choose
from sdxl_runtime.demo_model.judge import judge
from sdxl_runtime.demo_model.scenes import Scene
from tests.e2e.banks import (
    bank_of,
    compile_pods,
    digests,
    hidden,
    kill_job,
    replicas,
    says,
    verified,
    watched_readers,
)
from tests.e2e.volumes import claim, on_claim, resize, small_volume
from tests.e2e.world import Namespace, Object, condition, cpu_service, pictures, simulated_service

FIRST = {"width": 128, "height": 128}
SECOND = {"width": 160, "height": 96}
SCENE = Scene(shape="square", colour="green", background="white", size="large", place="top left")
COMPILING = {"Exporting", "Compiling"}
MEASURING = {"Measuring", "Comparing"}
EMPTY = "import pathlib, shutil; [shutil.rmtree(path) for path in pathlib.Path('/volume').iterdir()]"
MANY = [{"width": 128 + 32 * number, "height": 128} for number in range(24)]
"""The simulated compiler takes a second for each."""


def on_volume(name: str) -> Object:
    """The members of a spec by which the bank, and only the bank, is on the volume of a claim."""
    return {"tuneBank": {"volume": {"claimName": name, "size": None}}, "model": {"volume": {"size": "100Mi"}}}


def remove_all(namespace: Namespace) -> None:
    """Services, models and banks, and the pods of their Jobs."""
    namespace.run("delete", "sdxl,sdxlbank,sdxlmodel", "--all", "--timeout=60s")
    namespace.run("delete", "pod", "client", "--ignore-not-found", "--grace-period=0")
    namespace.wait(lambda: namespace.items("pods,jobs"), lambda left: not left, 120)


@pytest.fixture(autouse=True)
def gone_after_each(namespace: Namespace) -> Iterator[None]:
    yield
    remove_all(namespace)


@pytest.fixture
def cluster() -> LocalCluster:
    """The cluster whose pods' processes can be found, and whose pods can be reached by their addresses."""
    found = choose()
    if not isinstance(found, LocalCluster):
        pytest.skip("only the local cluster's containers can be killed from here")
    return found


@pytest.fixture
def small(namespace: Namespace) -> Iterator[Path]:
    """A volume of 64 kB with its claim, called small."""
    with small_volume(namespace, "small", "64k") as folder:
        yield folder
        remove_all(namespace)


def wait_for_failure(namespace: Namespace, count: int) -> None:
    """The bank's status tells of a Job that was killed, and of how many failed in a row."""
    status = namespace.wait(
        lambda: bank_of(namespace).get("status") or {}, lambda found: found.get("failures") == count, 60
    )
    failure = status["lastFailure"]
    assert (failure["reason"], failure["component"], failure["exitCode"]) == ("CompileFailed", "compile", 137)
    assert "SIGKILL" in failure["message"]
    told = condition(namespace.service(), "BankReady")
    assert told["status"] == "False"


def test_a_job_killed_three_times_ends_in_a_whole_bank_of_which_no_half_is_read(
    namespace: Namespace, built: Mapping[str, str], cluster: LocalCluster
) -> None:
    namespace.apply(cpu_service(buckets=[FIRST]))
    kill_job(namespace, cluster, "128x128b1", COMPILING, seconds=180)
    wait_for_failure(namespace, 1)
    assert digests(bank_of(namespace)) == {}
    namespace.wait_ready(seconds=600)
    before = digests(bank_of(namespace))
    assert set(before) == {"128x128b1"}
    namespace.apply(cpu_service(buckets=[FIRST, SECOND]))
    with watched_readers(namespace) as read:
        kill_job(namespace, cluster, "160x96b1", COMPILING, seconds=180)
        wait_for_failure(namespace, 1)
        kill_job(namespace, cluster, "160x96b1", MEASURING, seconds=400)
        wait_for_failure(namespace, 2)
        assert condition(namespace.service(), "Available")["status"] == "True"
        service = namespace.wait_ready(seconds=600)
        read.look(namespace)
    bank = bank_of(namespace)
    found = digests(bank)
    assert set(found) == {"128x128b1", "160x96b1"}
    assert found["128x128b1"] == before["128x128b1"], "what was published is not made again"
    assert {entry["state"] for entry in bank["status"]["entries"]} <= {"Kept", "Dropped"}
    assert {bucket: row["digest"] for bucket, row in verified(namespace).items()} == found
    assert hidden(namespace) == []
    assert read.answers > 0
    assert read.troubles == set()
    assert read.loaded <= set(found.items())
    assert service["status"]["bucketSummary"] == "2/2"
    (answer,) = namespace.ask(
        built["runtime"],
        f"http://studio.{namespace.name}.svc/v1/images/generations",
        {"prompt": SCENE.prompt, "size": "160x96", "seed": 11},
    )
    assert judge(pictures(answer)[0]).agrees(SCENE)


def test_of_two_jobs_for_one_volume_one_writes_and_the_other_waits_and_says_for_whom(
    namespace: Namespace, cluster: LocalCluster
) -> None:
    first, second = (
        simulated_service(
            name, buckets=MANY, compile={"tuning": {"minimumSpeedupPercent": minimum}}, **on_volume("shared")
        )
        for name, minimum in (("first", 102), ("second", 103))
    )
    namespace.apply(claim("shared"), first)
    (writer,) = namespace.wait(
        lambda: [pod for pod in compile_pods(namespace) if says(pod, "/progress").get("stage") == "Compiling"],
        lambda pods: len(pods) == 1,
        120,
    )
    namespace.apply(second)
    host = writer["metadata"]["name"][:63]
    told = namespace.wait(
        lambda: condition(namespace.service("second"), "BankReady"),
        lambda found: "WaitingForLock" in found.get("message", ""),
        60,
    )
    assert f"WaitingForLock: waits for {host} (process 1, compile for identity" in told["message"]
    for name in ("first", "second"):
        namespace.wait_ready(name, seconds=180)
    one, other = bank_of(namespace, "first"), bank_of(namespace, "second")
    assert one["metadata"]["name"] != other["metadata"]["name"]
    assert digests(one) == digests(other)
    assert len(digests(one)) == len(MANY)
    log = namespace.run("logs", "-l", f"sdxl.dev/bank={other['metadata']['name']}", "--tail=-1")
    assert log.count("is already in the bank") == len(MANY), "the second compiled nothing"


def test_a_volume_that_fills_up_keeps_what_it_has_and_serves_on_until_it_is_enlarged(
    namespace: Namespace, small: Path
) -> None:
    namespace.apply(simulated_service(buckets=[FIRST], **on_volume("small")))
    namespace.wait_ready()
    before, (replica,) = digests(bank_of(namespace)), replicas(namespace)
    fill(small)
    namespace.apply(simulated_service(buckets=[FIRST, SECOND], **on_volume("small")))
    told = namespace.wait_reason("VolumeFull")
    assert "No space left on device" in told["message"]
    service = namespace.service()
    assert condition(service, "Available")["status"] == "True"
    assert condition(service, "Degraded")["reason"] == "VolumeFull"
    assert [pod["metadata"]["uid"] for pod in replicas(namespace)] == [replica["metadata"]["uid"]]
    assert digests(bank_of(namespace)) == before
    resize(small, "1m")
    service = namespace.wait_ready(seconds=180)
    assert [row["entry"] for row in service["status"]["buckets"]] == ["Loaded", "Loaded"]
    assert digests(bank_of(namespace))["128x128b1"] == before["128x128b1"]
    assert condition(service, "Degraded") == {}
    assert hidden(namespace) == []


def fill(folder: Path) -> None:
    """Leave no room on the volume of a folder."""
    with (folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert shutil.disk_usage(folder).free == 0


def test_a_volume_that_was_emptied_is_told_and_filled_again_while_replicas_serve(
    namespace: Namespace, built: Mapping[str, str]
) -> None:
    namespace.apply(simulated_service(buckets=[FIRST]))
    service = namespace.wait_ready()
    assert service["status"]["buckets"][0]["entry"] == "Loaded"
    on_claim(namespace, built["operator"], bank_of(namespace)["status"]["claimName"], EMPTY)
    (before,) = replicas(namespace)
    namespace.run("delete", "pod", before["metadata"]["name"], "--wait=false")
    told = namespace.wait(
        lambda: condition(namespace.service(), "BankReady"), lambda found: found["reason"] == "Missing", 90
    )
    assert "128x128b1" in told["message"]
    assert "its volume was emptied" in told["message"]
    namespace.wait(lambda: condition(namespace.service(), "Available")["status"], lambda status: status == "True", 30)
    (during,) = replicas(namespace)
    service = namespace.wait_ready(seconds=120)
    assert service["status"]["buckets"][0]["entry"] == "Loaded"
    (after,) = replicas(namespace)
    assert after["metadata"]["uid"] == during["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    assert set(verified(namespace)) == {"128x128b1"}


def test_two_services_with_the_same_needs_share_a_bank_that_was_compiled_once(namespace: Namespace) -> None:
    namespace.apply(simulated_service("studio", buckets=[FIRST]))
    namespace.wait_ready("studio")
    jobs = names_of_jobs(namespace)
    namespace.apply(simulated_service("twin", buckets=[FIRST]))
    namespace.wait_ready("twin", seconds=60)
    (bank,) = namespace.wait(
        lambda: namespace.items("sdxltunebanks"),
        lambda banks: banks[0]["status"]["usedBy"] == ["studio", "twin"],
        30,
    )
    assert names_of_jobs(namespace) == jobs
    namespace.apply(simulated_service("twin", buckets=[FIRST, SECOND]))
    namespace.wait_ready("twin")
    (shared,) = namespace.items("sdxltunebanks")
    assert shared["status"]["summary"] == "2/2"
    assert digests(shared)["128x128b1"] == digests(bank)["128x128b1"], "a bucket that is added is all that is compiled"
    assert [row["key"] for row in namespace.service("studio")["status"]["buckets"]] == ["128x128b1"]
    namespace.run("delete", "sdxl", "studio", "--timeout=60s")
    (left,) = namespace.wait(
        lambda: namespace.items("sdxltunebanks"), lambda banks: banks[0]["status"]["usedBy"] == ["twin"], 60
    )
    assert digests(left) == digests(shared)


def names_of_jobs(namespace: Namespace) -> set[str]:
    return {job["metadata"]["name"] for job in namespace.items("jobs")}
