"""`KubernetesCluster` against a real API server: what it writes, what it leaves alone, and how it fails."""

import base64
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sdxl_operator import naming
from sdxl_operator.cluster import Forbidden, Invalid, KindNotServed, NotFound, Unavailable
from sdxl_operator.cluster.recorder import EventRecorder
from sdxl_operator.cluster.server import KubernetesCluster
from sdxl_operator.cluster.transport import Transport, load_configuration
from sdxl_operator.naming import Object, Ref
from sdxl_operator.plan import signing
from tests.apiserver.conftest import ApiServer, a_config_map, a_profile, a_service


class CountedTransport(Transport):
    """Remembers the verbs of its calls."""

    verbs: list[str]

    async def call(self, verb: str, method: str, ref: Ref, **details: Any) -> Object:
        self.verbs.append(verb)
        return await super().call(verb, method, ref, **details)


@pytest.fixture
async def counted(apiserver: ApiServer) -> AsyncIterator[CountedTransport]:
    transport = CountedTransport(await load_configuration(apiserver.kubeconfig), queries_per_second=1000)
    transport.verbs = []
    async with transport:
        yield transport


def version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])


async def test_an_apply_that_creates_returns_the_live_object(cluster: KubernetesCluster, namespace: str) -> None:
    live = await cluster.apply(a_config_map(namespace, a="1"))
    assert live["metadata"]["uid"]
    assert live["data"] == {"a": "1"}


async def test_all_kinds_go_by_the_same_path(cluster: KubernetesCluster, namespace: str) -> None:
    service = await cluster.apply(a_service(namespace))
    profile = await cluster.apply(a_profile("one-path"))
    assert (service["kind"], profile["kind"]) == (naming.SERVICE, naming.PROFILE)
    assert await cluster.get(Ref.of(profile)) == profile
    await cluster.delete(Ref.of(profile))


async def test_an_object_that_is_not_there_is_none(cluster: KubernetesCluster, namespace: str) -> None:
    assert await cluster.get(Ref("v1", "ConfigMap", namespace, "absent")) is None


async def test_a_kind_without_its_crd_is_not_the_same_as_an_absent_object(
    cluster: KubernetesCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {("sdxl.dev/v1alpha1", "Later"): "laters", ("other.dev/v1", "Other"): "others"}
    monkeypatch.setattr("sdxl_operator.cluster.transport.PLURALS", known)
    for api_version, kind in known:
        with pytest.raises(KindNotServed):
            await cluster.get(Ref(api_version, kind, namespace, "x"))
        with pytest.raises(KindNotServed):
            await cluster.list(api_version, kind)


async def test_the_served_kinds_are_those_of_the_crds(cluster: KubernetesCluster) -> None:
    served = await cluster.served_kinds(naming.API_VERSION)
    assert served == {naming.SERVICE, naming.MODEL, naming.BANK, naming.PROFILE}
    assert await cluster.served_kinds("other.dev/v1") == frozenset()


async def test_a_list_is_complete_over_pages_and_its_items_say_their_kind(
    cluster: KubernetesCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        await cluster.apply(a_config_map(namespace, name))
    monkeypatch.setattr("sdxl_operator.cluster.server.PAGE", 1)
    found = await cluster.list("v1", "ConfigMap", namespace, naming.MANAGED)
    assert [naming.Ref.of(item) for item in found] == [Ref("v1", "ConfigMap", namespace, name) for name in "abc"]
    assert await cluster.list("v1", "ConfigMap", namespace, {"app": "other"}) == []


async def test_an_unchanged_object_costs_one_read_and_no_write(
    cluster: KubernetesCluster, counted: CountedTransport, namespace: str
) -> None:
    cluster = KubernetesCluster(counted, EventRecorder(counted))
    first = await cluster.apply(a_config_map(namespace, a="1"))
    second = await cluster.apply(a_config_map(namespace, a="1"))
    assert counted.verbs == ["apply", "get"]
    assert second == first


async def test_after_a_restart_everything_is_applied_once_and_nothing_moves(
    cluster: KubernetesCluster, counted: CountedTransport, namespace: str
) -> None:
    service = a_service(namespace)
    first = await cluster.apply(service)
    restarted = KubernetesCluster(counted, EventRecorder(counted))
    assert version(await restarted.apply(service)) == version(first)
    assert version(await restarted.apply(service)) == version(first)
    assert counted.verbs == ["apply", "get"]


async def test_a_field_that_someone_else_changed_is_put_back(
    cluster: KubernetesCluster, apiserver: ApiServer, namespace: str
) -> None:
    await cluster.apply(a_config_map(namespace, a="1"))
    apiserver.kubectl("patch", "cm", "notes", "-n", namespace, "-p", json.dumps({"data": {"a": "2", "theirs": "x"}}))
    live = await cluster.apply(a_config_map(namespace, a="1"))
    assert live["data"] == {"a": "1", "theirs": "x"}


async def test_a_secret_is_made_once_and_what_is_there_stays(
    cluster: KubernetesCluster, apiserver: ApiServer, namespace: str
) -> None:
    service = await cluster.apply(a_service(namespace))
    assert await cluster.create(signing.build(service, "a" * 64)) is True
    assert await cluster.create(signing.build(service, "b" * 64)) is False
    found = json.loads(apiserver.kubectl("get", "secret", "studio-signing", "-n", namespace, "-o", "json"))
    assert base64.b64decode(found["data"]["key"]) == b"a" * 64
    assert found["metadata"]["ownerReferences"][0]["uid"] == service["metadata"]["uid"]


async def test_a_deployment_is_found_by_each_model_that_it_mounts(cluster: KubernetesCluster, namespace: str) -> None:
    names = [naming.model_name({"source": f"pvc://claim/{'x' * length}"}) for length in (1, 200)]
    labels = {**naming.MANAGED, **{naming.uses_model_label(name): "true" for name in names}}
    config_map = a_config_map(namespace)
    config_map["metadata"]["labels"] = labels
    await cluster.apply(config_map)
    for name in names:
        wanted = {**naming.MANAGED, naming.uses_model_label(name): "true"}
        assert len(await cluster.list("v1", "ConfigMap", namespace, wanted)) == 1
    assert await cluster.list("v1", "ConfigMap", namespace, {naming.uses_model_label("other"): "true"}) == []


async def test_a_field_no_longer_asked_for_goes_away(cluster: KubernetesCluster, namespace: str) -> None:
    await cluster.apply(a_config_map(namespace, a="1", b="2"))
    assert (await cluster.apply(a_config_map(namespace, a="1")))["data"] == {"a": "1"}


async def test_the_operator_owns_what_it_applied_and_nothing_else(cluster: KubernetesCluster, namespace: str) -> None:
    live = await cluster.apply(a_config_map(namespace, a="1"))
    (entry,) = live["metadata"]["managedFields"]
    assert entry["manager"] == naming.FIELD_MANAGER
    assert entry["operation"] == "Apply"
    assert entry["fieldsV1"]["f:data"] == {"f:a": {}}


async def test_the_admins_fields_win_over_the_defaults_and_the_rest_is_applied(
    cluster: KubernetesCluster, apiserver: ApiServer
) -> None:
    labels = {"node.kubernetes.io/chip": "910b", "pool": "a"}
    await cluster.apply_defaults(a_profile("own", image="ours:1", nodeSelector=labels, startupBudgetSeconds=900))
    theirs = {"image": "theirs:1", "nodeSelector": {"node.kubernetes.io/chip": "910c"}}
    apiserver.kubectl("patch", "acceleratorprofile", "own", "--type=merge", "-p", json.dumps({"spec": theirs}))
    newer = a_profile("own", image="ours:2", nodeSelector=labels, startupBudgetSeconds=1200)
    live = await cluster.apply_defaults(newer)
    assert live["spec"]["image"] == "theirs:1"
    assert live["spec"]["nodeSelector"] == {"node.kubernetes.io/chip": "910c", "pool": "a"}
    assert live["spec"]["startupBudgetSeconds"] == 1200
    assert version(await cluster.apply_defaults(newer)) == version(live)
    assert newer["spec"]["image"] == "ours:2", "the caller's object is left as it was"


async def test_an_admins_field_inside_a_list_of_objects_wins_too(
    cluster: KubernetesCluster, apiserver: ApiServer
) -> None:
    def profile(value: str) -> Object:
        environment = [{"name": "MODE", "value": value}, {"name": "LEVEL", "value": value}]
        return a_profile("listed", environment=environment, hostMounts=[{"hostPath": "/usr/local/dcmi"}])

    await cluster.apply_defaults(profile("ours"))
    theirs = {**a_profile("listed"), "spec": {"environment": [{"name": "MODE", "value": "theirs"}]}}
    arguments = ("apply", "--server-side", "--force-conflicts", "--field-manager=admin", "-f", "-")
    apiserver.kubectl(*arguments, text_in=json.dumps(theirs))
    live = await cluster.apply_defaults(profile("newer"))
    values = {one["name"]: one["value"] for one in live["spec"]["environment"]}
    assert values == {"MODE": "theirs", "LEVEL": "newer"}


async def test_a_status_is_written_once_and_again_only_when_it_differs(
    counted: CountedTransport, namespace: str
) -> None:
    cluster = KubernetesCluster(counted, EventRecorder(counted))
    ref = Ref.of(await cluster.apply(a_service(namespace)))
    for url in ("http://a", "http://a", "http://b"):
        await cluster.get(ref)
        await cluster.apply_status(ref, {"url": url})
    assert counted.verbs.count("status") == 2
    live = await cluster.get(ref)
    assert live is not None
    assert live["status"] == {"url": "http://b"}


async def test_a_status_that_someone_else_changed_is_put_back(
    cluster: KubernetesCluster, apiserver: ApiServer, namespace: str
) -> None:
    ref = Ref.of(await cluster.apply(a_service(namespace)))
    await cluster.apply_status(ref, {"url": "http://a"})
    patch = json.dumps({"status": {"url": "http://wrong"}})
    apiserver.kubectl("patch", "sdxl", "studio", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)
    await cluster.get(ref)
    await cluster.apply_status(ref, {"url": "http://a"})
    live = await cluster.get(ref)
    assert live is not None
    assert live["status"]["url"] == "http://a"


async def test_the_same_status_after_a_restart_moves_nothing(
    cluster: KubernetesCluster, transport: Transport, namespace: str
) -> None:
    ref = Ref.of(await cluster.apply(a_service(namespace)))
    await cluster.apply_status(ref, {"url": "http://a", "replicas": 1})
    before = await cluster.get(ref)
    restarted = KubernetesCluster(transport, EventRecorder(transport))
    await restarted.apply_status(ref, {"url": "http://a", "replicas": 1})
    assert await cluster.get(ref) == before


async def test_the_status_of_an_object_that_has_gone_is_nobodys_problem(
    cluster: KubernetesCluster, namespace: str
) -> None:
    await cluster.apply_status(Ref(naming.API_VERSION, naming.SERVICE, namespace, "gone"), {"url": "http://a"})
    assert await cluster.get(Ref(naming.API_VERSION, naming.SERVICE, namespace, "gone")) is None


async def test_a_deleted_job_is_gone_at_once_and_does_not_orphan_its_pods(
    cluster: KubernetesCluster, namespace: str
) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "fetch", "namespace": namespace},
        "spec": {"template": {"spec": pod}},
    }
    ref = Ref.of(await cluster.apply(job))
    await cluster.delete(ref)
    assert await cluster.get(ref) is None, "a Job's default is orphaning, which waits for the garbage collector"
    await cluster.delete(ref)


async def test_a_delete_by_uid_spares_the_successor_of_the_same_name(
    cluster: KubernetesCluster, namespace: str
) -> None:
    ref = Ref.of(await cluster.apply(a_config_map(namespace)))
    await cluster.delete(ref, uid="00000000-0000-0000-0000-000000000000")
    live = await cluster.get(ref)
    assert live is not None
    await cluster.delete(ref, uid=live["metadata"]["uid"])
    assert await cluster.get(ref) is None


async def test_an_event_is_written_once_however_often_it_is_recorded(
    cluster: KubernetesCluster, namespace: str, apiserver: ApiServer
) -> None:
    service = await cluster.apply(a_service(namespace))
    for _ in range(3):
        await cluster.record(service, "Fetching", "the model is on its way", False, "Reconcile")
    await cluster.record(service, "FetchFailed", "no space left " + "ü" * 2000, True, "Reconcile")
    events = await cluster.events(Ref.of(service))
    assert [event["reason"] for event in events] == ["FetchFailed", "Fetching"]
    assert [event["type"] for event in events] == ["Warning", "Normal"]
    described = apiserver.kubectl("describe", "sdxl", "studio", "-n", namespace)
    assert "the model is on its way" in described


async def test_an_event_that_comes_back_after_a_restart_counts_on(
    cluster: KubernetesCluster, transport: Transport, namespace: str
) -> None:
    service = await cluster.apply(a_service(namespace))
    await cluster.record(service, "Fetching", "again", False, "Reconcile")
    later = datetime.now(UTC) + timedelta(minutes=20)
    restarted = KubernetesCluster(transport, EventRecorder(transport, now=lambda: later))
    await restarted.record(service, "Fetching", "again", False, "Reconcile")
    (event,) = await cluster.events(Ref.of(service))
    assert event["series"]["count"] == 2


async def test_an_event_about_a_cluster_scoped_object_is_found_again(cluster: KubernetesCluster) -> None:
    profile = await cluster.apply(a_profile("event-target"))
    await cluster.record(profile, "ProfileInvalid", "no image", True, "Reconcile")
    assert [event["reason"] for event in await cluster.events(Ref.of(profile))] == ["ProfileInvalid"]
    await cluster.delete(Ref.of(profile))


async def test_an_event_that_cannot_be_written_is_only_logged(
    cluster: KubernetesCluster, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = a_service("no-such-namespace")
    await cluster.record(nowhere, "Fetching", "x", False, "Reconcile")
    assert "no event Fetching about SDXLService studio" in caplog.text


async def test_an_invalid_object_names_the_fields_at_fault(cluster: KubernetesCluster, namespace: str) -> None:
    with pytest.raises(Invalid) as caught:
        await cluster.apply(a_service(namespace, replicas=-1))
    assert caught.value.status == 422
    assert caught.value.fields[0][0] == "spec.replicas"
    assert "greater than or equal to 0" in caught.value.message


async def test_a_missing_namespace_is_not_found(cluster: KubernetesCluster) -> None:
    with pytest.raises(NotFound) as caught:
        await cluster.apply(a_config_map("no-such-namespace"))
    assert not isinstance(caught.value, KindNotServed)


async def test_what_rbac_does_not_allow_is_forbidden(apiserver: ApiServer, namespace: str) -> None:
    async with Transport(await load_configuration(apiserver.nobody)) as transport:
        with pytest.raises(Forbidden) as caught:
            await KubernetesCluster(transport, EventRecorder(transport)).apply(a_config_map(namespace))
    assert 'cannot patch resource "configmaps"' in caught.value.message


async def test_a_child_that_another_controller_owns_is_not_taken(
    cluster: KubernetesCluster, apiserver: ApiServer, namespace: str
) -> None:
    first, second = [await cluster.apply(a_service(namespace, name)) for name in ("first", "second")]
    theirs, ours = a_config_map(namespace, "child"), a_config_map(namespace, "child")
    theirs["metadata"]["ownerReferences"] = [naming.owner_reference(first)]
    ours["metadata"]["ownerReferences"] = [naming.owner_reference(second)]
    apiserver.apply(theirs)
    with pytest.raises(Invalid) as caught:
        await cluster.apply(ours)
    assert "Only one reference can have Controller set to true" in caught.value.message


async def test_no_answer_is_unavailable(apiserver: ApiServer, tmp_path: Path) -> None:
    dead = tmp_path / "kubeconfig"
    text = apiserver.kubeconfig.read_text()
    dead.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", text))
    async with Transport(await load_configuration(dead)) as transport:
        with pytest.raises(Unavailable) as caught:
            await transport.call("get", "GET", Ref("v1", "ConfigMap", "default", "x"))
    assert caught.value.status == 0


async def test_a_kubeconfig_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no API server is configured"):
        await load_configuration(tmp_path / "absent")
