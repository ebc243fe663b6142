"""A bank for each class of nodes: made one after the other, pinned, shared volume, followed as labels change."""

import json
from typing import Any

import pytest

from sdxl_operator.cluster import Forbidden
from sdxl_operator.naming import BANK, BANK_LABEL, Key, Object, Ref, digest
from tests.operator.builders import NAMESPACE
from tests.operator.world import FakeCluster, FakeRuntime, Life

CHIP, DRIVER = "example.org/chip", "example.org/driver"
BY_CLASS: Object = {"identityLabels": [CHIP, DRIVER]}


def node(name: str, chip: str = "x1", driver: str = "1") -> Object:
    metadata = {"name": name, "labels": {CHIP: chip, DRIVER: driver}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"capacity": {"cpu": "4"}}}


def pinned_to(pod: Object) -> Object:
    """The labels to which the pod of a Job is kept, empty where it may run anywhere."""
    affinity = pod["spec"].get("affinity")
    if affinity is None:
        return {}
    required = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms = required["nodeSelectorTerms"][0]["matchExpressions"]
    return {term["key"]: term["values"][0] for term in terms}


class Classes(Life):
    """A life on nodes of several classes, whose containers read their identity from the node that they are on."""

    def __init__(self, *nodes: Object) -> None:
        super().__init__()
        self.order: list[Object] = []
        for each in nodes:
            self.cluster.put(each)
        self.world.outcome["compile"] = self._compiled

    def _compiled(self, pod: Object) -> Object:
        where = pinned_to(pod)
        self.order.append(where)
        self.world.identity = identity_of(where)
        return self.world._success(pod)

    def relabel(self, *nodes: Object) -> None:
        """Nodes come, or have other labels; the watch tells the banks."""
        for each in nodes:
            self.cluster.put(each)
        self.nodes_changed()

    def nodes_changed(self) -> None:
        for bank in self.cluster.all(BANK):
            self.enqueue(Key(BANK, NAMESPACE, bank["metadata"]["name"]))

    @property
    def whole(self) -> Object:
        return self.cluster.named(BANK, self.service_status()["bank"])

    @property
    def parts(self) -> dict[str, Object]:
        """The parts by `chip/driver`."""
        found = (bank for bank in self.cluster.all(BANK) if bank["spec"].get("nodeClass"))
        return {"/".join(bank["spec"]["nodeClass"].values()): bank for bank in found}

    def service_status(self) -> Object:
        status: Object = self.cluster.named("SDXLService")["status"]
        return status

    def accepted(self) -> Object:
        data: Object = json.loads(self.cluster.named("ConfigMap")["data"]["accepted.json"])
        return data


def identity_of(labels: Object) -> str:
    return digest(labels, 16)


async def on(*nodes: Object, change: Any = None) -> Classes:
    life = Classes(*nodes)
    life.profile(change=BY_CLASS)
    life.create(change)
    await life.settle()
    assert life.is_ready(), "\n".join(life.conditions())
    return life


async def test_two_chips_in_one_cluster_are_one_bank_each_pinned_and_on_one_volume() -> None:
    life = await on(node("a"), node("b", chip="x2"), node("c", chip="x2"))
    assert life.order == [{CHIP: "x1", DRIVER: "1"}, {CHIP: "x2", DRIVER: "1"}]
    assert sorted(life.parts) == ["x1/1", "x2/1"]
    (claim,) = [c for c in life.cluster.all("PersistentVolumeClaim") if "bank" in str(c["metadata"]["labels"])]
    assert claim["metadata"]["name"] == life.whole["metadata"]["name"]
    assert {bank["status"]["claimName"] for bank in life.cluster.all(BANK)} == {claim["metadata"]["name"]}
    rows = life.whole["status"]["nodeClasses"]
    assert [(row["nodeClass"][CHIP], row["nodes"], row["state"]) for row in rows] == [
        ("x1", 1, "Ready"),
        ("x2", 2, "Ready"),
    ]


async def test_replicas_may_load_the_digests_of_every_class() -> None:
    life = await on(node("a"), node("b", chip="x2"))
    accepted = life.accepted()
    known = {accepted["identity"]: accepted["digests"], **accepted["others"]}
    assert set(known) == {identity_of({CHIP: chip, DRIVER: "1"}) for chip in ("x1", "x2")}
    for part in life.parts.values():
        entry = part["status"]["entries"][0]
        assert known[part["status"]["identity"]] == {entry["key"]: entry["digest"]}
    (entry,) = life.whole["status"]["entries"]
    assert {entry["digest"], *entry["otherDigests"]} == {d["128x128b1"] for d in known.values()}


async def test_what_pods_mount_does_not_depend_on_the_nodes_that_are_there() -> None:
    life = await on(node("a"), node("b", chip="x2"))
    plain = Life()
    plain.profile()
    plain.create()
    await plain.settle()
    template = life.cluster.named("Deployment")["spec"]["template"]
    assert template["spec"] == plain.cluster.named("Deployment")["spec"]["template"]["spec"]


async def test_of_two_classes_one_is_made_after_the_other_and_the_second_says_for_whom_it_waits() -> None:
    life = Classes(node("a"), node("b", chip="x2"))
    life.profile(change=BY_CLASS)
    life.create()
    life.world.outcome["compile"] = lambda pod: None
    await life.until(lambda: len(life.cluster.all("Job")) == 2, "a fetch and a compile Job")
    await life.wait(20)
    jobs = [job for job in life.cluster.all("Job") if BANK_LABEL in job["metadata"]["labels"]]
    assert len(jobs) == 1
    waits = life.parts["x2/1"]["status"]["conditions"][0]["message"]
    assert life.parts["x1/1"]["metadata"]["name"] in waits
    assert f"1 node with {CHIP}=x1, {DRIVER}=1" in life.condition("BankReady")["message"]


async def test_a_class_that_fails_holds_up_no_other_and_status_says_which() -> None:
    life = Classes(node("a"), node("b", chip="x2"))
    life.profile(change=BY_CLASS)
    life.create()

    def fails(pod: Object) -> Object:
        if pinned_to(pod)[CHIP] == "x1":
            return {"exitCode": 1, "message": "boom", "finishedAt": life.clock.text()}
        return life._compiled(pod)

    life.world.outcome["compile"] = fails
    await life.until(lambda: bool(life.parts.get("x2/1", {}).get("status", {}).get("identity")), "the other is made")
    told = life.condition("BankReady")
    assert told["reason"] == "CompileFailed"
    assert f"{CHIP}=x1" in told["message"]
    assert "boom" in told["message"]
    life.world.outcome["compile"] = life._compiled
    await life.until(life.is_ready, "it was tried again")


async def test_a_label_that_changes_makes_a_bank_behind_while_the_same_replicas_serve() -> None:
    life = await on(node("a"))
    pods = [pod["metadata"]["uid"] for pod in life.cluster.all("Pod") if "server" in str(pod["metadata"]["labels"])]
    old = life.parts["x1/1"]
    life.world.outcome["compile"] = lambda pod: None
    life.relabel(node("a", driver="2"))
    await life.until(lambda: life.reason("BankReady") == "Stale", "it is told")
    assert f"1 node with {CHIP}=x1, {DRIVER}=2" in life.condition("BankReady")["message"]
    assert life.condition("Available")["status"] == "True"
    assert old["status"]["identity"] in str(life.accepted()), "whoever still runs with the old driver keeps its entries"
    life.world.outcome["compile"] = life._compiled
    await life.until(life.is_ready, "it was made")
    assert life.order[-1] == {CHIP: "x1", DRIVER: "2"}
    assert set(life.accepted()["others"]) == {old["status"]["identity"]}
    assert life.accepted()["identity"] == life.parts["x1/2"]["status"]["identity"]
    assert life.parts["x1/1"]["status"]["usedBy"] == []
    after = [pod["metadata"]["uid"] for pod in life.cluster.all("Pod") if "server" in str(pod["metadata"]["labels"])]
    assert after == pods
    await life.wait(60)
    assert len(life.order) == 2, "nothing was made twice"


async def test_a_class_that_comes_back_has_its_bank_still() -> None:
    life = await on(node("a"))
    life.relabel(node("a", driver="2"))
    await life.settle()
    made = len(life.order)
    life.relabel(node("a"))
    await life.settle()
    assert life.is_ready()
    assert len(life.order) == made
    assert [row["nodeClass"][DRIVER] for row in life.whole["status"]["nodeClasses"]] == ["1"]


async def test_a_further_bucket_is_made_for_every_class_that_is_there_and_for_no_other() -> None:
    life = await on(node("a"), node("b", chip="x2"))
    life.cluster.remove(Ref("v1", "Node", "", "b"))
    life.nodes_changed()
    life.change(buckets=[{"width": 128, "height": 128}, {"width": 160, "height": 128}])
    await life.settle()
    assert life.is_ready()
    assert life.order[2:] == [{CHIP: "x1", DRIVER: "1"}]


async def test_while_there_is_no_node_one_bank_is_made_wherever_a_node_comes() -> None:
    life = await on()
    assert life.parts == {}
    assert life.order == [{}]
    life.relabel(node("a"))
    await life.settle()
    assert life.is_ready()
    assert life.order == [{}, {CHIP: "x1", DRIVER: "1"}]


async def test_where_nodes_may_not_be_read_one_bank_does_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = FakeCluster.list

    async def listed(self: FakeCluster, api_version: str, kind: str, *words: Any) -> Any:
        if kind == "Node":
            raise Forbidden(403, "Forbidden", "nodes is forbidden")
        return await plain(self, api_version, kind, *words)

    monkeypatch.setattr(FakeCluster, "list", listed)
    life = await on(node("a"), node("b", chip="x2"))
    assert (life.parts, life.order) == ({}, [{}])


async def test_the_parts_go_with_the_whole_once_nobody_uses_it() -> None:
    life = await on(node("a"), node("b", chip="x2"), change={"tuneBank": {"retention": "Delete"}})
    life.cluster.remove(Ref.of(life.cluster.named("SDXLService")))
    await life.wait(life.settings.retention_grace_seconds + 30)
    assert life.cluster.all(BANK) == []


async def test_replicas_whose_nodes_labels_do_not_tell_have_every_part_look_again(monkeypatch: Any) -> None:
    life = await on(node("a"), node("b", chip="x2"))
    plain = FakeRuntime.readiness
    known = life.whole["status"]["entries"][0]["digest"]

    async def readiness(self: FakeRuntime, pod: Any) -> Object | None:
        answer = await plain(self, pod)
        for row in (answer or {}).get("buckets", []):
            row |= {"entry": "Stale", "digest": known, "backend": "Eager", "why": "made for another identity"}
        return answer

    monkeypatch.setattr(FakeRuntime, "readiness", readiness)
    life.touch()
    await life.until(lambda: len(life.order) == 4, "each looked again")
    await life.wait(300)
    assert len(life.order) == 4
    assert life.reason("BankReady") == "Stale"


async def test_only_replicas_on_the_classs_own_nodes_can_lend_to_its_job() -> None:
    card = "example.org/card"
    life = Classes()
    for each in (node("a"), node("b", chip="x2")):
        life.cluster.put({**each, "status": {"capacity": {card: "1"}}})
    life.world.cards = 9
    life.profile(change={**BY_CLASS, "resource": {"name": card}})
    life.create({"replicas": 2})
    await life.settle()
    assert life.is_ready(), "\n".join(life.conditions())
    life.world.cards = 2
    life.change(buckets=[{"width": 128, "height": 128}, {"width": 160, "height": 128}])
    await life.wait(40)
    placed = [part["status"].get("placement") for part in life.parts.values()]
    assert all("lender" not in (each or {}) for each in placed), "which replica would go is not for the operator to say"
    assert life.condition("Ready")["reason"] == "WaitingForAccelerator"
