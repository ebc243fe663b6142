"""The operator's process against a real API server: it starts, watches, stops, and says why where it cannot."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import chart
from dev.chart import CHART
from sdxl_operator import naming
from sdxl_operator.cluster.server import KubernetesCluster
from sdxl_operator.naming import Ref
from tests.apiserver.conftest import ApiServer, a_profile, a_service, free_ports

READY_SECONDS = 60


class Process:
    """The running operator, its log and its ports."""

    def __init__(self, kubeconfig: Path, folder: Path, **variables: str) -> None:
        self.health, self.metrics = free_ports(2)
        self.log = folder / f"operator-{secrets.token_hex(3)}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KUBECONFIG": str(kubeconfig),
            "SDXL_OPERATOR_BIND_ADDRESS": "127.0.0.1",
            "SDXL_OPERATOR_HEALTH_PORT": str(self.health),
            "SDXL_OPERATOR_METRICS_PORT": str(self.metrics),
            **{f"SDXL_OPERATOR_{name.upper()}": value for name, value in variables.items()},
        }
        with self.log.open("wb") as log:
            argv = [sys.executable, "-m", "sdxl_operator"]
            self.process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, cwd=folder)

    def text(self) -> str:
        return self.log.read_text()

    def until_healthy(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/healthz", timeout=2) as answer:
                    assert answer.status == 200
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise AssertionError(self.text())

    def measured(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def ends(self, seconds: float = 30) -> int:
        return self.process.wait(seconds)


@contextmanager
def operating(kubeconfig: Path, folder: Path, **variables: str) -> Iterator[Process]:
    operator = Process(kubeconfig, folder, **variables)
    try:
        yield operator
    finally:
        operator.process.kill()
        operator.process.wait()


async def until_reconciled(cluster: KubernetesCluster, ref: Ref, operator: Process) -> None:
    """Wait for the first status."""
    for _ in range(READY_SECONDS * 5):
        live = await cluster.get(ref)
        if live and live.get("status", {}).get("conditions"):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(operator.text())


async def test_the_operator_reconciles_what_was_there_and_what_comes_and_stops_with_zero(
    apiserver: ApiServer, cluster: KubernetesCluster, namespace: str, tmp_path: Path
) -> None:
    before = Ref.of(await cluster.apply(a_service(namespace, "before")))
    with operating(apiserver.kubeconfig, tmp_path, namespace=namespace) as operator:
        operator.until_healthy()
        await until_reconciled(cluster, before, operator)
        after = Ref.of(await cluster.apply(a_service(namespace, "after")))
        await until_reconciled(cluster, after, operator)
        assert 'sdxl_operator_reconcile_seconds_count{kind="SDXLService"' in operator.measured()
        began = time.monotonic()
        operator.process.send_signal(signal.SIGTERM)
        assert operator.ends() == 0, operator.text()
        assert time.monotonic() - began < 15
    assert "Traceback" not in operator.text()


async def test_a_missing_profile_is_noticed_and_its_arrival_too(
    apiserver: ApiServer, cluster: KubernetesCluster, namespace: str, tmp_path: Path
) -> None:
    async def accepted() -> str:
        live = await cluster.get(ref)
        assert live is not None
        return next(str(one["status"]) for one in live["status"]["conditions"] if one["type"] == "Accepted")

    name = f"profile-{namespace}"
    ref = Ref.of(await cluster.apply(a_service(namespace, accelerator={"profile": name})))
    with operating(apiserver.kubeconfig, tmp_path, namespace=namespace) as operator:
        operator.until_healthy()
        await until_reconciled(cluster, ref, operator)
        assert await accepted() == "False"
        await cluster.apply(a_profile(name))
        for _ in range(100):
            if await accepted() == "True":
                break
            await asyncio.sleep(0.2)
        assert await accepted() == "True", operator.text()
    await cluster.delete(Ref(naming.API_VERSION, naming.PROFILE, "", name))


async def test_profiles_of_the_folder_are_there_after_the_start(
    apiserver: ApiServer, cluster: KubernetesCluster, namespace: str, tmp_path: Path
) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    name = f"folder-{namespace}"
    (folder / "profile.yaml").write_text(yaml.safe_dump(a_profile(name)))
    with operating(apiserver.kubeconfig, tmp_path, profiles_folder=str(folder), namespace=namespace) as operator:
        operator.until_healthy()
        profile = await cluster.get(Ref(naming.API_VERSION, naming.PROFILE, "", name))
    assert profile is not None
    assert profile["metadata"]["managedFields"][0]["manager"] == naming.PROFILES_FIELD_MANAGER
    await cluster.delete(Ref.of(profile))


def versions(apiserver: ApiServer, namespace: str) -> dict[str, str]:
    """The resourceVersion of everything that the operator may write in a namespace."""
    kinds = "sdxl,sdxlmodel,sdxlbank,cm,pvc,svc,deploy,job,pdb,controllerrevision,events"
    items = json.loads(apiserver.kubectl("get", kinds, "-n", namespace, "-o", "json"))["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in items}


async def test_quiet_means_quiet_over_re_lists_and_a_restart(
    apiserver: ApiServer, cluster: KubernetesCluster, namespace: str, tmp_path: Path
) -> None:
    profile = await cluster.apply(a_profile(f"quiet-{namespace}"))
    accelerator = {"profile": profile["metadata"]["name"]}
    ref = Ref.of(await cluster.apply(a_service(namespace, accelerator=accelerator)))
    seen = []
    for _ in range(2):
        with operating(apiserver.kubeconfig, tmp_path, namespace=namespace, resync_seconds="5") as operator:
            operator.until_healthy()
            await until_reconciled(cluster, ref, operator)
            await asyncio.sleep(4)
            seen.append(versions(apiserver, namespace))
            await asyncio.sleep(7)
            seen.append(versions(apiserver, namespace))
    assert {name.partition("/")[0] for name in seen[0]} >= {"SDXLService", "SDXLModel", "Job"}
    assert seen[1] == seen[0], "a re-list moved something"
    assert seen[3] == seen[2], "a re-list after the restart moved something"
    moved = {name for name in seen[2] if seen[2][name] != seen[1].get(name)}
    # NB: the API server stores a fresh claim anew at its first update, even one that changes nothing
    assert {name.partition("/")[0] for name in moved} <= {"PersistentVolumeClaim"}
    await cluster.delete(Ref.of(profile))


def test_a_deleted_service_disturbs_nobody(apiserver: ApiServer, namespace: str, tmp_path: Path) -> None:
    apiserver.apply(a_service(namespace))
    with operating(apiserver.kubeconfig, tmp_path, namespace=namespace) as operator:
        operator.until_healthy()
        apiserver.kubectl("delete", "sdxl", "studio", "-n", namespace, "--timeout=20s")
        time.sleep(1)
        operator.process.send_signal(signal.SIGTERM)
        assert operator.ends() == 0
    assert "Traceback" not in operator.text(), operator.text()


def test_kopf_leaves_no_finalizer_and_no_annotation(apiserver: ApiServer, namespace: str, tmp_path: Path) -> None:
    apiserver.apply(a_service(namespace))
    with operating(apiserver.kubeconfig, tmp_path, namespace=namespace) as operator:
        operator.until_healthy()
        time.sleep(2)
        metadata = json.loads(apiserver.kubectl("get", "sdxl", "studio", "-n", namespace, "-o", "json"))["metadata"]
    assert "finalizers" not in metadata
    assert not any("kopf" in name for name in metadata.get("annotations", {}))


def test_the_operator_can_be_stopped_before_it_has_started(apiserver: ApiServer, tmp_path: Path) -> None:
    with operating(apiserver.kubeconfig, tmp_path) as operator:
        for _ in range(200):
            if operator.text() or operator.process.poll() is not None:
                break
            time.sleep(0.02)
        time.sleep(0.5)
        operator.process.send_signal(signal.SIGTERM)
        assert operator.ends() in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({"workers": "none"}, 2, "SDXL_OPERATOR_WORKERS is 'none'"),
        ({"typo": "1"}, 2, "SDXL_OPERATOR_TYPO is not a setting"),
    ],
)
def test_wrong_settings_are_named_at_the_start(
    apiserver: ApiServer, tmp_path: Path, variables: dict[str, str], code: int, words: str
) -> None:
    with operating(apiserver.kubeconfig, tmp_path, **variables) as operator:
        assert operator.ends() == code
    assert words in operator.text()
    assert "Traceback" not in operator.text()


def test_an_api_server_that_cannot_be_reached_is_one_line_and_a_failure(apiserver: ApiServer, tmp_path: Path) -> None:
    with operating(tmp_path / "absent", tmp_path) as operator:
        assert operator.ends() == 1
    assert "no API server is configured" in operator.text()
    assert "Traceback" not in operator.text()


def test_an_operator_without_rights_says_which_it_lacks(apiserver: ApiServer, tmp_path: Path) -> None:
    with operating(apiserver.nobody, tmp_path) as operator:
        assert operator.ends(60) == 1
    assert "cannot list resource" in operator.text()


def the_charts_rights(account: str, values: str, namespace: str) -> list[Any]:
    """The chart's roles, bound to this account and for this namespace."""
    objects = chart.template("--values", CHART / "ci" / f"{values}-values.yaml")
    text = json.dumps([item for item in objects if "Role" in item["kind"] and not item.get("aggregationRule")])
    return list(json.loads(text.replace("release-sdxl", f"{account}-sdxl").replace('"studio"', f'"{namespace}"')))


@pytest.mark.parametrize(("account", "values"), [("everywhere", "default"), ("one", "namespaced")])
async def test_the_charts_rights_are_all_that_the_operator_needs(
    apiserver: ApiServer, cluster: KubernetesCluster, namespace: str, tmp_path: Path, account: str, values: str
) -> None:
    apiserver.apply(*the_charts_rights(account, values, namespace))
    profile = await cluster.apply(a_profile(f"rights-{namespace}"))
    accelerator = {"profile": profile["metadata"]["name"]}
    ref = Ref.of(await cluster.apply(a_service(namespace, accelerator=accelerator)))
    kubeconfig = apiserver.everywhere if account == "everywhere" else apiserver.in_one_namespace
    watched = {} if account == "everywhere" else {"namespace": namespace}
    with operating(kubeconfig, tmp_path, **watched) as operator:
        operator.until_healthy()
        await until_reconciled(cluster, ref, operator)
        await asyncio.sleep(3)
        operator.process.send_signal(signal.SIGTERM)
        assert operator.ends() == 0, operator.text()
    assert "orbidden" not in operator.text(), operator.text()
    await cluster.delete(Ref.of(profile))


def test_a_port_that_is_taken_takes_the_process_down(apiserver: ApiServer, tmp_path: Path) -> None:
    with operating(apiserver.kubeconfig, tmp_path) as first:
        first.until_healthy()
        with operating(apiserver.kubeconfig, tmp_path, metrics_port=str(first.metrics)) as second:
            assert second.ends() == 1
    assert "Address already in use" in second.text()
