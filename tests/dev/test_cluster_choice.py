"""Which cluster is used, and what is never touched."""

import json
import os
from pathlib import Path

import pytest

from dev.cluster import __main__ as command
from dev.cluster import kind, provider
from dev.cluster.existing import ExistingCluster
from dev.cluster.kind import KindCluster
from dev.cluster.local import cleanup, cluster, packages
from dev.cluster.local.cluster import LocalCluster
from dev.cluster.local.layout import Layout
from dev.shell import Failed


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provider, "docker_answers", lambda: False)
    monkeypatch.delenv(provider.USE_KUBECONFIG, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(("docker", "expected"), [(True, "kind"), (False, "local")])
def test_kind_is_used_where_docker_answers_and_local_elsewhere(
    monkeypatch: pytest.MonkeyPatch, docker: bool, expected: str
) -> None:
    monkeypatch.setattr(provider, "docker_answers", lambda: docker)
    assert provider.choose().name == expected


def test_local_can_be_asked_for_although_docker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "docker_answers", lambda: True)
    assert isinstance(provider.choose("local"), LocalCluster)


def test_a_kubeconfig_named_in_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    existing = tmp_path / "kubeconfig"
    existing.touch()
    monkeypatch.setenv(provider.USE_KUBECONFIG, str(existing))
    chosen = provider.choose()
    assert isinstance(chosen, ExistingCluster)
    assert chosen.kubeconfig == existing


def test_a_kubeconfig_and_a_provider_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="exclude"):
        provider.choose("kind", str(tmp_path / "kubeconfig"))


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="nowhere"):
        provider.choose(use_kubeconfig=str(tmp_path / "nowhere"))


def test_down_and_load_leave_an_existing_cluster_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kubeconfig"
    path.touch()
    existing = ExistingCluster(path)
    existing.down()
    existing.load(["localhost/a:1"])
    told = capsys.readouterr().err
    assert "stays as it is" in told
    assert "localhost/a:1" in told
    assert path.exists()


def test_a_folder_without_our_marker_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(Failed, match="did not make it"):
        LocalCluster(Layout(tmp_path))._require_ours()
    assert (tmp_path / "precious").exists()


def test_an_empty_folder_may_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalCluster(Layout(tmp_path))._require_ours()


def test_namespaces_of_our_names_without_our_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.network, "exists", lambda node: node.number == 2)
    with pytest.raises(Failed, match="sdxl-node-2"):
        LocalCluster(Layout(tmp_path / "absent"))._require_ours()


def test_files_are_not_deleted_while_something_is_mounted_among_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "static").mkdir()
    monkeypatch.setattr(cleanup, "read", lambda path: f"tmpfs {tmp_path}/static tmpfs rw 0 0\n")
    with pytest.raises(Failed, match="still mounted"):
        cleanup.remove_files(Layout(tmp_path))
    assert (tmp_path / "static").is_dir()


def test_mounts_are_found_below_a_folder_and_not_beside_it() -> None:
    table = "a /run/x t\nb /run/x/one t\nc /run/x/one/two\\040words t\nd /run/xy t\n"
    assert cleanup.mounts_below(Path("/run/x"), table) == ["/run/x/one/two words", "/run/x/one", "/run/x"]


def test_every_kind_node_has_the_shared_folder_and_the_first_takes_pods() -> None:
    nodes = kind.cluster_config(3, Path("/cache/kind"))["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker"]
    assert {node["extraMounts"][0]["hostPath"] for node in nodes} == {"/cache/kind/volumes"}
    assert "taints: []" in nodes[0]["kubeadmConfigPatches"][0]


def test_kind_s_provisioner_keeps_volumes_where_every_node_sees_them() -> None:
    config = json.loads(kind.storage_config()["data"]["config.json"])
    mounted = kind.cluster_config(1, Path("/c"))["nodes"][0]["extraMounts"][0]["containerPath"]
    assert config == {"sharedFileSystemPath": mounted}


def test_a_kind_cluster_of_our_name_that_we_did_not_make_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = KindCluster(tmp_path)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(foreign, "_kind", lambda *words, **_: asked.append(words) or "sdxl-operator\n")
    with pytest.raises(Failed, match="did not make"):
        foreign.down()
    assert asked == [("get", "clusters")]


@pytest.mark.parametrize("words", [["--provider", "local", "up"], ["up", "--provider", "local"]])
def test_the_provider_may_be_named_before_or_after_the_command(words: list[str]) -> None:
    assert command.parser().parse_args(words).provider == "local"


def test_a_failure_is_a_sentence_and_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--use-kubeconfig", "/nowhere/at/all", "status"]) == 1
    assert capsys.readouterr().err == "error: there is no kubeconfig /nowhere/at/all\n"


def test_more_nodes_than_a_machine_can_carry_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster.packages, "require_machine", lambda: None)
    with pytest.raises(Failed, match="between 1 and 8"):
        LocalCluster(Layout(tmp_path)).up(99)


def test_programs_find_the_system_s_folders_and_no_proxy_before_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    monkeypatch.setenv("no_proxy", "")
    for _ in range(2):
        packages.prepare_environment()
    assert os.environ["PATH"] == "/bin:/usr/sbin:/sbin"
    assert os.environ["NO_PROXY"].split(",")[0] == "intranet.example"
    assert os.environ["NO_PROXY"].count("10.200.0.0/24") == 1
    assert "10.96.0.0/16" in os.environ["no_proxy"].split(",")


def test_missing_programs_are_named_where_there_is_no_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.shutil, "which", lambda program: None)
    with pytest.raises(Failed, match=r"missing: runc\. Install what brings them"):
        packages.ensure({"runc": "runc"})


def test_nothing_is_installed_where_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "run", lambda *_, **__: pytest.fail("something was run"))
    packages.ensure({"sh": "dash"})
