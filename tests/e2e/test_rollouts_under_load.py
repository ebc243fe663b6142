"""Every class of edit, and edits that cannot succeed, while clients ask without a pause, in order: nobody notices any.

One service with two replicas is edited again and again; each test goes on from the spec that the one before it left.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from dev.demo.kubectl import Kubectl
from tests.e2e.rollouts import Story, assert_nobody_noticed, is_serving, moment, replicas_of, under_load
from tests.e2e.world import Namespace, Object, condition, cpu_service, merged, simulated_service, status_line

NAME = "studio"
PROFILE = "simulated-rolled"
BUDGET_SECONDS = 30
MISSING = "localhost/sdxl-runtime:not-there"
BUCKETS = [{"width": 128, "height": 128}, {"width": 160, "height": 96}]
DIFFERS = "SDXL_SIMULATED_PICTURE_DIFFERS"


class Studio:
    """The service: its spec so far, and what its admin makes of the profile."""

    def __init__(self, namespace: Namespace, image: str) -> None:
        self.namespace, self.image = namespace, image
        self.spec: Object = {
            "accelerator": {"profile": PROFILE},
            "buckets": BUCKETS[:1],
            "replicas": 2,
            "server": {"labels": {"edited": "no"}},
        }

    def apply(self, **changes: Any) -> None:
        """Edit members of the spec; all others stay as the last edit left them."""
        self.spec = merged(self.spec, changes)
        self.namespace.apply(simulated_service(NAME, **self.spec))

    def edit(self, **changes: Any) -> Story:
        """Edit under load until it is rolled out, and see that nobody noticed."""
        with self.under_load() as story:
            self.apply(**changes)
            self.namespace.wait_ready(NAME, 180)
        return story

    @contextmanager
    def under_load(self) -> Iterator[Story]:
        """Whatever is done in the block, nobody notices."""
        with under_load(self.namespace, self.image, NAME) as story:
            yield story
        assert_nobody_noticed(story)

    def change_profile(self, **spec: Any) -> None:
        """What an admin edits."""
        patch = json.dumps({"spec": spec})
        self.namespace.kubectl.run("patch", "acceleratorprofile", PROFILE, "--type=merge", "-p", patch)

    def wait_degraded(self, reason: str, seconds: float = 90) -> str:
        """Until the edit is stuck and the revision before it serves; the message."""
        told = self.namespace.wait(
            lambda: self.namespace.service(NAME),
            lambda item: condition(item, "Degraded").get("reason") == reason,
            seconds,
            status_line,
        )
        return str(condition(told, "Degraded")["message"])

    def wait_whole(self) -> None:
        """Until both replicas are there again."""
        self.namespace.wait(lambda: len(self.ready()), lambda count: count == 2, 90)

    def ready(self) -> list[Object]:
        """The replicas that are ready."""
        return [pod for pod in replicas_of(self.namespace, NAME) if is_serving(pod)]

    def replicas(self) -> set[str]:
        """The uids of the replicas."""
        return {pod["metadata"]["uid"] for pod in replicas_of(self.namespace, NAME)}

    def bank(self) -> Object:
        """The bank that the service uses."""
        return self.namespace.get("sdxltunebank", self.namespace.service(NAME)["status"]["bank"])

    def revisions(self) -> int:
        """How many were cut."""
        return len(self.namespace.items("controllerrevisions", "-l", f"sdxl.dev/service={NAME}"))


@pytest.fixture(scope="module")
def profile(kubectl: Kubectl) -> Iterator[str]:
    """The simulated profile with little patience."""
    simulated = kubectl.get("acceleratorprofile", "simulated")
    spec = {**simulated["spec"], "startupBudgetSeconds": BUDGET_SECONDS}
    named = {"apiVersion": simulated["apiVersion"], "kind": simulated["kind"], "metadata": {"name": PROFILE}}
    kubectl.run("delete", "acceleratorprofile", PROFILE, "--ignore-not-found")
    kubectl.run("apply", "-f", "-", text_in=json.dumps({**named, "spec": spec}))
    yield PROFILE
    kubectl.run("delete", "acceleratorprofile", PROFILE, "--ignore-not-found")


@pytest.fixture(scope="module")
def studio(namespace: Namespace, built: Mapping[str, str], profile: str) -> Studio:
    """Ready, with two replicas and one bucket in its bank."""
    found = Studio(namespace, built["runtime"])
    found.apply()
    namespace.wait_ready(NAME)
    return found


def test_an_edit_that_costs_nothing_touches_nothing(studio: Studio) -> None:
    before, revisions = studio.replicas(), studio.revisions()
    story = studio.edit(compile={"tuning": {"activeDeadlineSeconds": 3600}})
    assert (studio.replicas(), studio.revisions()) == (before, revisions)
    assert (story.impacts, story.gone()) == (set(), set())


def test_a_further_bucket_is_compiled_before_the_first_replica_goes(studio: Studio) -> None:
    before = studio.replicas()
    story = studio.edit(buckets=BUCKETS)
    assert story.impacts == {"Recompile"}
    assert story.gone() == before
    jobs = studio.namespace.items("jobs", "-l", "app.kubernetes.io/component=compile")
    assert jobs, "the Job of the new bucket is still there to be asked when it ended"
    compiled = max(moment(job["status"]["completionTime"]) for job in jobs)
    assert all(made >= compiled for made in story.came().values())
    assert studio.namespace.service(NAME)["status"]["bucketSummary"] == "2/2"


def test_replicas_and_the_way_of_a_rollout_take_effect_at_once_and_roll_nobody(studio: Studio) -> None:
    revisions = studio.revisions()
    with studio.under_load() as story:
        studio.apply(replicas=3, rollout={"strategy": "Surge"})
        assert studio.namespace.wait_ready(NAME)["status"]["readyReplicas"] == 3
        studio.apply(replicas=2)
        studio.namespace.wait_ready(NAME)
        studio.namespace.wait(studio.replicas, lambda uids: len(uids) == 2, 60)
    assert story.impacts == set()
    assert len(story.gone()) == 1, "the one too many, and it lost no request"
    assert studio.revisions() == revisions
    strategy = studio.namespace.get("deployment", NAME)["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}


def test_another_bank_is_filled_first_and_with_surge_no_replica_is_missing(studio: Studio) -> None:
    before, bank = studio.replicas(), studio.bank()["metadata"]["name"]
    story = studio.edit(compile={"tuning": {"minimumSpeedupPercent": 110}})
    assert story.impacts == {"Retune"}
    assert story.gone() == before
    assert story.fewest_serving() == 2
    assert studio.bank()["metadata"]["name"] != bank
    assert studio.bank()["status"]["summary"] == "2/2"


def test_a_bank_that_is_not_fast_enough_is_dropped_and_its_buckets_are_served_uncompiled(studio: Studio) -> None:
    story = studio.edit(compile={"tuning": {"minimumSpeedupPercent": 1000}})
    assert story.impacts == {"Retune"}
    entries = studio.bank()["status"]["entries"]
    assert {entry["state"] for entry in entries} == {"Dropped"}
    assert all("at least 1000 % is asked for" in entry["why"] for entry in entries)
    rows = studio.namespace.service(NAME)["status"]["buckets"]
    assert [(row["state"], "entry" in row) for row in rows] == [("Ready", False)] * 2
    assert all("no kept entry" in row["why"] for row in rows)


def test_files_are_fetched_before_the_first_replica_goes_and_a_corrected_bank_is_taken_up_with_them(
    studio: Studio,
) -> None:
    before, model = studio.replicas(), studio.namespace.service(NAME)["status"]["model"]
    correction = {"tuning": {"minimumSpeedupPercent": 102}}
    story = studio.edit(model={"volume": {"size": "120Mi"}}, compile=correction)
    assert story.impacts == {"Refetch"}
    assert story.gone() == before
    status = studio.namespace.service(NAME)["status"]
    assert status["model"] != model
    assert [row["entry"] for row in status["buckets"]] == ["Loaded", "Loaded"]


def test_a_model_that_cannot_be_fetched_replaces_nobody_and_correcting_it_recovers(studio: Studio) -> None:
    before = studio.replicas()
    with studio.under_load() as story:
        studio.apply(model={"variant": "fp8"})
        told = studio.wait_degraded("ModelInvalid")
        assert "fp8" in told
        assert condition(studio.namespace.service(NAME))["reason"] == "ModelInvalid"
        assert studio.replicas() == before
        studio.apply(model={"variant": "fp16"})
        studio.namespace.wait_ready(NAME)
    assert (studio.replicas(), story.gone()) == (before, set())
    assert story.impacts == {"Refetch"}
    assert condition(studio.namespace.service(NAME), "Degraded") == {}


def test_an_image_that_cannot_fill_its_bank_replaces_nobody_and_reverting_the_edit_recovers(
    studio: Studio, kubectl: Kubectl, built: Mapping[str, str]
) -> None:
    before = studio.replicas()
    with studio.under_load() as story:
        studio.change_profile(image=MISSING)
        studio.apply(server={"labels": {"edited": "once"}})
        told = studio.wait_degraded("ImagePullFailed")
        assert MISSING in told
        assert studio.replicas() == before
        studio.apply(server={"labels": {"edited": "no"}})
        studio.namespace.wait_ready(NAME)
        studio.change_profile(image=built["runtime"])
    assert (studio.replicas(), story.gone()) == (before, set())
    assert story.impacts == {"Retune"}, "a bank is of one image"
    assert condition(studio.namespace.service(NAME), "Degraded") == {}


def test_a_restart_replaces_one_replica_after_the_other(studio: Studio) -> None:
    before = studio.replicas()
    story = studio.edit(compile={"mode": "Eager"}, rollout={"strategy": "NoSurge"})
    assert story.impacts == {"Restart"}
    assert story.gone() == before
    assert story.fewest_serving() == 1


def test_an_image_whose_replicas_never_start_is_taken_back_and_correcting_it_recovers(
    studio: Studio, built: Mapping[str, str]
) -> None:
    with studio.under_load() as story:
        studio.change_profile(image=MISSING)
        studio.apply(server={"labels": {"edited": "again"}})
        told = studio.wait_degraded("RolledBack", 180)
        assert MISSING in told
        studio.wait_whole()
        studio.change_profile(image=built["runtime"])
        studio.namespace.wait_ready(NAME, 180)
    assert story.impacts == {"Restart"}
    assert condition(studio.namespace.service(NAME), "Degraded") == {}
    labels = [pod["metadata"]["labels"]["edited"] for pod in replicas_of(studio.namespace, NAME)]
    assert labels == ["again", "again"]


def test_a_picture_that_differs_is_not_served_and_the_revision_before_goes_on(studio: Studio) -> None:
    # The bank's reference is compared before the first pod of a revision counts as ready.
    studio.apply(compile={"mode": "AheadOfTime"})
    studio.namespace.wait_ready(NAME)
    with studio.under_load() as story:
        studio.change_profile(environment=[{"name": DIFFERS, "value": "All"}])
        studio.apply(server={"labels": {"edited": "differs"}})
        told = studio.wait_degraded("RolledBack", 180)
        assert "picture" in told
        studio.wait_whole()
        studio.change_profile(environment=[])
        studio.namespace.wait_ready(NAME, 180)
    assert story.impacts == {"Restart"}
    assert len(studio.ready()) == 2


@pytest.mark.long
def test_a_bucket_is_compiled_for_real_while_two_replicas_draw_on_the_same_processors(
    namespace: Namespace, built: Mapping[str, str]
) -> None:
    namespace.apply(cpu_service("painter", buckets=BUCKETS[:1], replicas=2))
    namespace.wait_ready("painter", 900)
    before = {pod["metadata"]["uid"] for pod in replicas_of(namespace, "painter")}
    load = ("--concurrency", "2", "--size", "128x128", "--steps", "4", "--timeout", "120")
    with under_load(namespace, built["runtime"], "painter", *load) as story:
        namespace.apply(cpu_service("painter", buckets=BUCKETS, replicas=2))
        namespace.wait_ready("painter", 900)
    assert_nobody_noticed(story)
    assert story.impacts == {"Recompile"}
    assert story.gone() == before
    bank = namespace.get("sdxltunebank", namespace.service("painter")["status"]["bank"])
    assert bank["status"]["summary"] == "2/2"
