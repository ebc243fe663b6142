"""What must be so before the operator runs, and what it does when it is not."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from sdxl_operator import crd, naming, startup
from sdxl_operator.api import KINDS
from sdxl_operator.cluster import Forbidden, Invalid, Objects
from sdxl_operator.naming import Object, Ref
from sdxl_operator.startup import StartupError, apply_profiles, check_crds


class StartingCluster:
    """A cluster with these CRDs, which refuses profiles named in `refused`."""

    def __init__(self, *crds: Object, served_after: int = 0) -> None:
        self.crds = {definition["metadata"]["name"]: definition for definition in crds}
        self.served_after = served_after
        self.asked = 0
        self.may_read_crds = True
        self.refused: set[str] = set()
        self.applied: list[str] = []

    async def get(self, ref: Ref) -> Object | None:
        if not self.may_read_crds:
            raise Forbidden(403, "Forbidden", "no rights")
        return self.crds.get(ref.name)

    async def served_kinds(self, api_version: str) -> frozenset[str]:
        self.asked += 1
        if self.asked <= self.served_after:
            return frozenset()
        return frozenset(definition["spec"]["names"]["kind"] for definition in self.crds.values())

    async def apply_defaults(self, obj: Object) -> Object:
        name = obj["metadata"]["name"]
        if name in self.refused:
            raise Invalid(422, "Invalid", f"{name} cannot be")
        self.applied.append(name)
        return obj

    async def list(
        self, api_version: str, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> Objects:
        raise NotImplementedError

    async def apply(self, obj: Object) -> Object:
        raise NotImplementedError

    async def delete(self, ref: Ref, uid: str | None = None) -> None:
        raise NotImplementedError

    async def apply_status(self, ref: Ref, status: Object) -> None:
        raise NotImplementedError

    async def record(self, regarding: Object, reason: str, message: str, warning: bool, action: str) -> None:
        raise NotImplementedError

    async def events(self, ref: Ref) -> Objects:
        raise NotImplementedError


def all_crds() -> list[Object]:
    return [crd.definition(kind) for kind in KINDS]


def a_profile(name: str) -> Object:
    return {"apiVersion": naming.API_VERSION, "kind": naming.PROFILE, "metadata": {"name": name}, "spec": {}}


async def test_the_crds_of_this_version_are_enough() -> None:
    await check_crds(StartingCluster(*all_crds()))


async def test_a_missing_crd_is_named_with_what_to_do() -> None:
    with pytest.raises(StartupError, match=r"sdxlservices\.sdxl\.dev is not installed: apply the crds/ folder"):
        await check_crds(StartingCluster(*all_crds()[1:]))


async def test_an_older_crd_is_named_with_the_fields_it_lacks() -> None:
    crds = all_crds()
    crds[0]["metadata"]["annotations"] = {}
    spec = crds[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["suspend"]
    with pytest.raises(StartupError, match=r"is older than this operator and lacks spec\.suspend"):
        await check_crds(StartingCluster(*crds))


async def test_a_crd_that_was_edited_by_hand_is_noticed_although_it_says_that_it_is_ours() -> None:
    crds = all_crds()
    status = crds[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    status["buckets"]["items"]["properties"]["state"]["enum"].remove("Warming")
    del status["rollout"]
    with pytest.raises(
        StartupError, match=r"lacks status\.rollout, status\.buckets\[\]\.state=Warming: apply the crds/"
    ):
        await check_crds(StartingCluster(*crds))


async def test_of_much_that_is_missing_a_part_is_named_and_the_rest_counted() -> None:
    crds = all_crds()
    spec = crds[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["server"]
    count = len(spec["properties"])
    spec["properties"] = {}
    with pytest.raises(StartupError, match=rf"(spec\.server\.\w+, ){{4}}spec\.server\.\w+ and {count - 5} more: apply"):
        await check_crds(StartingCluster(*crds))


async def test_a_crd_with_all_fields_but_of_another_version_is_only_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    crds = all_crds()
    crds[1]["metadata"]["annotations"][crd.HASH_ANNOTATION] = "newer"
    await check_crds(StartingCluster(*crds))
    (record,) = caplog.records
    assert "sdxlmodels.sdxl.dev has every field, but is of another version" in record.getMessage()


async def test_a_crd_that_was_made_a_moment_ago_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "POLL_SECONDS", 0.01)
    cluster = StartingCluster(*all_crds(), served_after=3)
    await check_crds(cluster)
    assert cluster.asked == 4


async def test_a_crd_that_is_never_served_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(startup, "SERVED_SECONDS", 0.05)
    with pytest.raises(StartupError, match=r"sdxl\.dev/v1alpha1 does not serve AcceleratorProfile, SDXLModel"):
        await check_crds(StartingCluster(*all_crds(), served_after=1000))


async def test_without_the_right_to_read_crds_it_is_enough_that_the_kinds_are_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = StartingCluster(*all_crds())
    cluster.may_read_crds = False
    await check_crds(cluster)
    assert "may not read them" in caplog.text


async def test_every_profile_of_the_folder_is_applied(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(a_profile("cpu")))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all([a_profile("ascend-910b"), None, a_profile("ascend-310p")]))
    (tmp_path / "notes.txt").write_text("not a profile")
    cluster = StartingCluster()
    await apply_profiles(cluster, tmp_path)
    assert cluster.applied == ["ascend-910b", "ascend-310p", "cpu"]


async def test_one_bad_profile_does_not_hold_up_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "1.yaml").write_text("a: [broken")
    (tmp_path / "2.yaml").write_text(yaml.safe_dump({"kind": "Pod"}))
    (tmp_path / "3.yaml").write_text(yaml.safe_dump(a_profile("bad")))
    (tmp_path / "4.yaml").write_text(yaml.safe_dump(a_profile("good")))
    cluster = StartingCluster()
    cluster.refused = {"bad"}
    with caplog.at_level(logging.ERROR):
        await apply_profiles(cluster, tmp_path)
    assert cluster.applied == ["good"]
    for record, words in zip(caplog.records, ("cannot be read", "not an AcceleratorProfile", "refused"), strict=True):
        assert words in record.getMessage()


async def test_a_folder_that_is_not_there_has_no_profiles(tmp_path: Path) -> None:
    cluster = StartingCluster()
    await apply_profiles(cluster, tmp_path / "absent")
    assert cluster.applied == []
