"""`kubectl sdxl` over an in-memory cluster: what it prints, what it asks kubectl, and what it edits."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from sdxl_operator.api import ServiceSpec
from sdxl_operator.cluster import Conflict, Forbidden, Objects
from sdxl_operator.kubectl.arguments import parser
from sdxl_operator.kubectl.commands import FIELD_MANAGER, Session
from sdxl_operator.kubectl.errors import CommandError
from sdxl_operator.kubectl.text import Style
from sdxl_operator.naming import API_VERSION, BANK, PAUSED_ANNOTATION, PROFILE, SERVICE, Object, Ref
from tests.operator.builders import NAMESPACE, merged, service_spec
from tests.operator.world import FakeCluster, Life, served

STUDIO = Ref(API_VERSION, SERVICE, NAMESPACE, "studio")


def in_file(name: str) -> list[Object]:
    return [item for item in yaml.safe_load_all(Path(name).read_text()) if item]


class FakeKubectl:
    """kubectl over the same cluster: an apply's dry run merges the file into what is there."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.called: list[list[str]] = []
        self.complaint = ""

    async def read(self, arguments: Sequence[str]) -> str:
        self.called.append(list(arguments))
        if self.complaint:
            raise CommandError(self.complaint)
        (filename,) = (word.removeprefix("--filename=") for word in arguments if word.startswith("--filename="))
        documents = [self._applied(item) for item in in_file(filename)]
        return json.dumps(documents[0] if len(documents) == 1 else {"kind": "List", "items": documents})

    async def show(self, arguments: Sequence[str]) -> None:
        self.called.append(list(arguments))

    def _applied(self, document: Object) -> Object:
        document = merged({"metadata": {"namespace": NAMESPACE}}, document)
        if document["kind"] != SERVICE:
            return document
        name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
        live = self.cluster.objects.get(Ref(API_VERSION, SERVICE, namespace, name), {})
        after = merged(live, document)
        spec = ServiceSpec.model_validate(after["spec"])
        return {**after, "spec": spec.model_dump(by_alias=True, mode="json", exclude_none=True)}


class Shell:
    """Where somebody types commands."""

    def __init__(self, life: Life, folder: Path) -> None:
        self.life = life
        self.kubectl = FakeKubectl(life.cluster)
        self.folder = folder

    async def run(self, *words: str) -> str:
        options = parser().parse_args(words)
        namespace = options.namespace or NAMESPACE
        session = Session(self.life.cluster, self.kubectl, namespace, Style(coloured=False), self.life.clock.now)
        return "\n".join(await options.run(session, options))

    async def plan(self, change: Object, *words: str, name: str = "studio") -> str:
        file = self.folder / "edited.yaml"
        file.write_text(yaml.safe_dump(manifest(change, name)))
        return await self.run("plan", "-f", str(file), *words)


def manifest(change: Object, name: str = "studio") -> Object:
    return {"apiVersion": API_VERSION, "kind": SERVICE, "metadata": {"name": name}, "spec": service_spec(change)}


@pytest.fixture
async def shell(tmp_path: Path) -> Shell:
    return Shell(await served({"replicas": 2}), tmp_path)


TWO = {"buckets": [{"width": 128, "height": 128}, {"width": 160, "height": 128}], "replicas": 2}


async def test_a_plan_says_what_an_edit_costs_and_changes_nothing(shell: Shell) -> None:
    changes, writes = len(shell.life.cluster.changes), len(shell.life.cluster.writes)
    text = await shell.plan(TWO)
    bank = shell.life.service()["status"]["bank"]
    assert text.splitlines()[0] == "team/studio: Recompile"
    assert "buckets[160x128b1] added" in text
    assert f"Compiles   1 of 2 buckets into {bank}: 160x128b1" in text
    assert f"about 50s, by pixels and batch from 128x128b1 of bank {bank}" in text
    assert "Fetches    nothing: all files are there" in text
    assert "2 replicas, 1 at a time, each old one stopped before a new one starts" in text
    assert "about 12s: the latest start of one took 6s, and up to 7m for each to finish its work" in text
    assert (len(shell.life.cluster.changes), len(shell.life.cluster.writes)) == (changes, writes)


async def test_what_was_never_measured_is_called_so(shell: Shell) -> None:
    cluster = shell.life.cluster
    bank = cluster.named("SDXLTuneBank")
    entries = [{**entry, "seconds": None} for entry in bank["status"]["entries"]]
    cluster.put({**bank, "status": {**bank["status"], "entries": entries}})
    service = cluster.named(SERVICE)
    cluster.put({**service, "status": {**service["status"], "coldStart": {"compileSeconds": 3}}})
    text = await shell.plan(merged(TWO, {"model": {"adapters": [{"name": "pixel", "source": "demo://pixel"}]}}))
    assert text.splitlines()[0] == "team/studio: Refetch"
    assert "Fetches    the adapter pixel from demo://pixel into demo-pixel-" in text
    assert text.count("unknown: it was never measured") == 2
    assert "unknown: no bucket was measured on this accelerator yet" in text


async def test_what_another_bank_on_the_same_accelerator_measured_tells_what_a_new_one_takes(shell: Shell) -> None:
    bank = shell.life.service()["status"]["bank"]
    text = await shell.plan({"buckets": [{"width": 128, "height": 128}], "precision": "FP16"}, name="novel")
    assert f"about 40s, measured before: 128x128b1 of bank {bank}" in text


async def test_what_another_accelerator_took_says_nothing(shell: Shell) -> None:
    shell.life.profile("other")
    text = await shell.plan({"accelerator": {"profile": "other"}, "replicas": 2})
    assert text.splitlines()[0] == "team/studio: Retune"
    assert "unknown: no bucket was measured on this accelerator yet" in text


async def test_who_may_not_list_banks_gets_an_estimate_from_those_of_the_service(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, listed = shell.life.service()["status"]["bank"], FakeCluster.list

    async def refuse(self: FakeCluster, api_version: str, kind: str, *more: Any) -> Objects:
        if kind == BANK:
            raise Forbidden(403, "Forbidden", "cannot list sdxltunebanks")
        return await listed(self, api_version, kind, *more)

    monkeypatch.setattr(FakeCluster, "list", refuse)
    assert f"about 50s, by pixels and batch from 128x128b1 of bank {bank}" in await shell.plan(TWO)


async def test_an_edit_without_a_rollout_says_only_its_class(shell: Shell) -> None:
    text = await shell.plan({"replicas": 5, "suspend": True})
    assert text.splitlines()[0] == "team/studio: Live"
    assert "replicas: 2 → 5" in text
    assert "suspend: false → true" in text
    assert "Compiles" not in text


async def test_an_edit_that_changes_nothing_is_told_as_that(shell: Shell) -> None:
    text = await shell.plan({"replicas": 2, "precision": "Auto"})
    assert text == "team/studio: nothing differs from what is in the cluster"


async def test_what_is_in_another_bank_already_is_not_compiled_again(shell: Shell) -> None:
    shell.life.create({"precision": "FP16"}, name="other")
    await shell.life.settle()
    text = await shell.plan({"replicas": 2, "precision": "FP16"})
    assert text.splitlines()[0] == "team/studio: Retune"
    assert "has every bucket" in text


async def test_a_new_image_of_the_profile_is_part_of_the_next_edit(shell: Shell) -> None:
    shell.life.profile(change={"image": "example.org/sdxl-runtime:2"})
    await shell.life.settle()
    text = await shell.plan({"replicas": 2, "server": {"logPrompts": True}})
    assert text.splitlines()[0] == "team/studio: Retune"
    assert "AcceleratorProfile cpu: image: example.org/sdxl-runtime:1 → example.org/sdxl-runtime:2" in text
    assert (await shell.plan({"replicas": 3})).splitlines()[0] == "team/studio: Live"


async def test_a_service_that_is_not_there_yet_is_made(shell: Shell) -> None:
    text = await shell.plan({"buckets": [{"width": 64, "height": 64}]}, name="novel")
    assert text.startswith("team/novel: there is no such service yet")
    assert "1 of 1 buckets into " in text


async def test_what_the_operator_would_refuse_is_said_beforehand(shell: Shell) -> None:
    with pytest.raises(CommandError, match="ProfileNotFound: there is no AcceleratorProfile 'gpu'; there are: cpu"):
        await shell.plan({"accelerator": {"profile": "gpu"}})
    text = await shell.plan({"buckets": [{"width": 136, "height": 128}], "replicas": 2})
    assert "It would not be accepted: the model needs widths and heights that are multiples of 32" in text


async def test_what_the_api_server_refuses_is_told_in_its_words(shell: Shell) -> None:
    shell.kubectl.complaint = "The SDXLService is invalid: spec.rollout: drainTimeoutSeconds must be at least …"
    with pytest.raises(CommandError, match="drainTimeoutSeconds must be at least"):
        await shell.plan({})


async def test_a_plan_asks_kubectl_what_the_apply_would_make(shell: Shell) -> None:
    await shell.plan({}, "--server-side", "--force-conflicts", "--field-manager", "flux", "-n", "team")
    (line,) = shell.kubectl.called
    assert line[:3] == ["apply", "--dry-run=server", "--output=json"]
    assert {"--namespace=team", "--server-side", "--force-conflicts", "--field-manager=flux"} <= set(line)
    await shell.plan({})
    assert not any(word.startswith(("--namespace", "--server-side")) for word in shell.kubectl.called[1])


async def test_of_several_manifests_each_service_is_planned_and_others_are_passed_over(
    shell: Shell, tmp_path: Path
) -> None:
    shell.life.create(name="second")
    await shell.life.settle()
    file = tmp_path / "all.yaml"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}}
    services = [manifest({"replicas": 3}), manifest({"precision": "BF16"}, "second")]
    file.write_text(yaml.safe_dump_all([secret, *services]))
    text = await shell.run("plan", "-f", str(file))
    assert [line for line in text.splitlines() if line.startswith("team/")] == [
        "team/studio: Live",
        "team/second: Retune",
    ]
    file.write_text(yaml.safe_dump(secret))
    with pytest.raises(CommandError, match="there is no SDXLService in it"):
        await shell.run("plan", "-f", str(file))


async def test_a_user_who_may_not_read_profiles_gets_a_plan_by_the_frozen_one(shell: Shell) -> None:
    cluster = shell.life.cluster
    listed = cluster.list

    async def refusing(api_version: str, kind: str, namespace: str = "", labels: Any = None) -> Objects:
        if kind == PROFILE:
            raise Forbidden(403, "Forbidden", "cannot list acceleratorprofiles")
        return await listed(api_version, kind, namespace, labels)

    cluster.list = refusing  # type: ignore[method-assign]
    text = await shell.plan({"replicas": 2, "precision": "BF16"})
    assert text.splitlines()[0] == "team/studio: Retune"
    assert "You may not read AcceleratorProfiles" in text
    with pytest.raises(Forbidden):
        await shell.plan({}, name="novel")


async def test_a_plan_for_a_paused_service_says_that_it_waits(shell: Shell) -> None:
    shell.life.cluster.edit(STUDIO, metadata={"annotations": {PAUSED_ANNOTATION: "true"}})
    assert "It is paused by sdxl.dev/paused" in await shell.plan({"replicas": 7})


async def test_status_shows_a_ready_service_on_one_screen(shell: Shell) -> None:
    text = await shell.run("status", "studio")
    lines = text.splitlines()
    assert lines[:2] == ["team/studio  http://studio.team.svc", "Ready: Everything that was asked for is there."]
    assert "Replicas     2 of 2 ready, 2 there" in lines
    assert any(line.split() == ["128x128b1", "Ready", "AheadOfTime", "12", "1.33x", "-"] for line in lines)
    assert "1/1 buckets, the last compile Job took 2s" in text
    assert any(line.startswith("BankReady") and "Compiled" in line for line in lines)
    assert "Rollout" not in text
    assert "Last failure" not in text


async def test_status_shows_what_an_edit_waits_for(shell: Shell) -> None:
    shell.life.world.outcome["compile"] = lambda pod: None
    shell.life.change(**TWO)
    await shell.life.until(lambda: shell.life.reason() == "Compiling", "the compile Job")
    text = await shell.run("status", "studio")
    assert "Rollout      Recompile: buckets[160x128b1]" in text
    assert text.splitlines()[1].startswith("Compiling: ")


async def test_status_says_what_was_not_looked_at_yet(shell: Shell) -> None:
    shell.life.create(name="fresh")
    assert await shell.run("status", "fresh") == "team/fresh\nNo operator has looked at it yet."
    shell.life.change(replicas=3)
    assert "about generation 1 of the spec; generation 2 is not carried out yet" in await shell.run("status", "studio")


async def test_a_name_that_is_not_there_is_answered_with_those_that_are(shell: Shell) -> None:
    with pytest.raises(CommandError, match="namespace team has no SDXLService 'studo'; there are: studio"):
        await shell.run("status", "studo")
    with pytest.raises(CommandError, match="namespace empty has no SDXLService 'studio'; there are: none"):
        await shell.run("status", "studio", "-n", "empty")


async def test_banks_and_models_are_tables_of_one_namespace_or_of_all(shell: Shell) -> None:
    banks = (await shell.run("banks")).splitlines()
    assert banks[0].split()[:4] == ["NAMESPACE", "NAME", "READY", "REASON"]
    assert banks[1].split()[2:8] == ["True", "Compiled", "1/1", "cpu", "all", "Auto"]
    models = (await shell.run("models", "-A")).splitlines()
    assert models[1].split()[2:5] == ["True", "ModelPresent", "demo://shapes"]
    assert "studio" in models[1]
    assert await shell.run("models", "-n", "empty") == "There are no models here."
    assert await shell.run("banks", "-n", "empty") == "There are no tune banks here."


@pytest.mark.parametrize(
    ("component", "selector"),
    [
        ("server", "sdxl.dev/service=studio,app.kubernetes.io/component=server"),
        ("compile", "sdxl.dev/bank in ({bank}),app.kubernetes.io/component=compile"),
        ("fetch", "sdxl.dev/model in ({model}),app.kubernetes.io/component=fetch"),
    ],
)
async def test_logs_are_those_of_the_component_s_pods(shell: Shell, component: str, selector: str) -> None:
    await shell.run("logs", "studio", "--component", component, "-f", "--tail", "5")
    (line,) = shell.kubectl.called
    status = shell.life.service()["status"]
    assert f"--selector={selector.format(bank=status['bank'], model=status['model'])}" in line
    assert {"--namespace=team", "--follow", "--prefix", "--tail=5"} <= set(line)
    pods = [pod["metadata"]["labels"] for pod in shell.life.cluster.all("Pod")]
    assert any(labels.get("app.kubernetes.io/component") == component for labels in pods), "the label is the pods' own"


async def test_logs_of_what_a_service_does_not_have_are_refused(shell: Shell) -> None:
    shell.life.create({"compile": {"mode": "Eager"}}, name="eager")
    with pytest.raises(CommandError, match="--component is fetch: the status of eager names no model yet"):
        await shell.run("logs", "eager", "--component", "fetch")
    await shell.life.settle()
    with pytest.raises(CommandError, match="--component is compile: eager has no tune bank"):
        await shell.run("logs", "eager", "--component", "compile")


async def test_a_rollback_goes_to_the_last_other_revision_that_ran_and_its_pods_come_back(shell: Shell) -> None:
    life = shell.life
    template = life.cluster.named("Deployment")["spec"]["template"]
    life.change(server={"env": [{"name": "A", "value": "1"}]}, precision="BF16", replicas=3)
    await life.settle()
    life.profile(change={"image": "example.org/sdxl-runtime:2"})
    await life.settle()
    text = await shell.run("rollback", "studio")
    assert text.splitlines()[0] == "team/studio: Retune"
    assert "has every bucket" in text
    assert "rolled back to revision 1 (studio-" in text
    assert life.cluster.patches == [("studio", FIELD_MANAGER)]
    await life.settle()
    assert life.is_ready()
    assert life.cluster.named("Deployment")["spec"]["template"] == template
    assert life.service()["status"]["readyReplicas"] == 3, "replicas stay as they are"
    again = await shell.run("rollback", "studio")
    assert "rolled back to revision 2" in again, "as kubectl rollout undo does"


async def test_a_rollback_can_be_looked_at_first(shell: Shell) -> None:
    life = shell.life
    life.change(precision="BF16")
    await life.settle()
    before = life.service()
    text = await shell.run("rollback", "studio", "--dry-run")
    assert "precision: BF16 → Auto" in text
    assert "nothing was changed; without --dry-run it goes back to revision 1" in text
    assert life.service() == before
    assert life.cluster.patches == []


async def test_a_rollback_goes_to_the_revision_that_is_named(shell: Shell) -> None:
    life = shell.life
    for precision in ("BF16", "FP16"):
        life.change(precision=precision)
        await life.settle()
    assert "to revision 1 (" in await shell.run("rollback", "studio", "--to", "1")
    assert "precision" in life.service()["spec"]
    assert life.service()["spec"]["precision"] == "Auto"
    await life.settle()
    assert "is that of revision 1 (" in await shell.run("rollback", "studio", "--to", "1")
    second = next(item for item in life.cluster.all("ControllerRevision") if item["revision"] == 2)
    assert "to revision 2 (" in await shell.run("rollback", "studio", "--to", second["metadata"]["name"])
    with pytest.raises(CommandError, match=r"--to is '9': studio has no such revision; there are 1 \(studio-.*, 3 \("):
        await shell.run("rollback", "studio", "--to", "9")


async def test_a_service_that_never_changed_has_nothing_to_go_back_to(shell: Shell) -> None:
    with pytest.raises(CommandError, match="studio has no other revision that once ran; there are 1 "):
        await shell.run("rollback", "studio")


async def test_a_spec_that_is_refused_can_be_rolled_back(shell: Shell) -> None:
    life = shell.life
    life.change(accelerator={"profile": "gpu"})
    await life.settle()
    assert life.reason() == "ProfileNotFound"
    text = await shell.run("rollback", "studio")
    assert "accelerator.profile: gpu → cpu" in text
    assert "The spec that is there now is not accepted: ProfileNotFound" in text
    await life.settle()
    assert life.is_ready()


async def test_a_revision_that_never_ran_is_passed_over(shell: Shell) -> None:
    life = shell.life
    life.world.held = {"example.org/bad:1"}
    life.profile(change={"image": "example.org/bad:1"})
    life.change(server={"logPrompts": True})
    await life.until(lambda: len(life.cluster.all("ControllerRevision")) == 2, "the second revision")
    life.change(precision="BF16")
    assert "to revision 1 (" in await shell.run("rollback", "studio")


async def test_a_rollback_does_not_overwrite_an_edit_of_the_same_moment(shell: Shell) -> None:
    life = shell.life
    life.change(precision="BF16")
    await life.settle()
    got = life.cluster.get

    async def overtaken(ref: Ref) -> Object | None:
        found = await got(ref)
        if ref == STUDIO:
            life.change(replicas=5)
        return found

    life.cluster.get = overtaken  # type: ignore[method-assign]
    with pytest.raises(Conflict, match="changed by somebody else"):
        await shell.run("rollback", "studio")
    assert life.cluster.named(SERVICE)["spec"]["precision"] == "BF16"
