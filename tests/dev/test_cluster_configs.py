"""What the local cluster writes for its components. Whether the components like it, only a running cluster tells."""

import base64
import json
import tomllib
from pathlib import Path

import pytest

from dev.cluster.local import addons, configs, controlplane, node
from dev.cluster.local.layout import NODE_LIMIT, Layout, Node

LAYOUT = Layout(Path("/var/lib/x"))


def test_nodes_share_no_name_address_or_folder() -> None:
    nodes = [LAYOUT.node(number) for number in range(1, NODE_LIMIT + 1)]
    for attribute in ("name", "host_link", "node_link", "gateway", "address", "pods", "cgroup", "folder"):
        assert len({getattr(each, attribute) for each in nodes}) == NODE_LIMIT, attribute
    assert not {each.gateway for each in nodes} & {each.address for each in nodes}


def test_link_names_fit_into_the_15_bytes_of_the_kernel() -> None:
    last = LAYOUT.node(NODE_LIMIT)
    assert max(len(last.host_link), len(last.node_link)) <= 15


def test_the_default_run_folder_leaves_room_for_socket_paths() -> None:
    longest = Layout().node(NODE_LIMIT).device_plugins / "a-device-plugin-of-a-test.sock"
    assert len(str(longest)) < 108


def test_containerd_takes_images_named_localhost_from_the_registry_of_node_one() -> None:
    content = tomllib.loads(configs.containerd(LAYOUT.node(2), LAYOUT, "abc"))
    cri = content["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["registry"]["config_path"] == "/var/lib/x/image-hosts"
    assert cri["sandbox_image"] == "localhost/sdxl-node-tools:abc"
    hosts = tomllib.loads(configs.image_host(LAYOUT.node(1)))
    assert hosts["server"] == "http://10.200.0.2:5000"


def test_containerd_runs_where_the_oom_score_cannot_be_lowered() -> None:
    content = tomllib.loads(configs.containerd(LAYOUT.node(1), LAYOUT, "abc"))
    assert content["plugins"]["io.containerd.grpc.v1.cri"]["restrict_oom_score_adj"] is True


def test_each_kubelet_has_a_cgroup_root_of_its_own() -> None:
    roots = {json.loads(configs.kubelet(LAYOUT.node(n), LAYOUT))["cgroupRoot"] for n in (1, 2)}
    assert roots == {"/sdxl-operator/sdxl-node-1", "/sdxl-operator/sdxl-node-2"}


def test_pods_are_not_hidden_behind_their_node_s_address() -> None:
    bridge = json.loads(configs.pod_network(LAYOUT.node(2)))["plugins"][0]
    assert bridge.get("ipMasq", False) is False
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]


def test_a_kubeconfig_needs_no_other_file() -> None:
    files = {"ca.crt": b"authority", "admin.crt": b"certificate", "admin.key": b"key"}
    content = json.loads(configs.kubeconfig("admin", LAYOUT.node(1), files))
    assert content["clusters"][0]["cluster"]["server"] == "https://10.200.0.2:6443"
    assert base64.b64decode(content["users"][0]["user"]["client-key-data"]) == b"key"


def test_the_two_storage_classes_are_the_ones_the_provisioner_knows() -> None:
    known = json.loads(configs.storage(LAYOUT, (addons.SHARED_CLASS, addons.NODE_CLASS)))["storageClassConfigs"]
    classes = [each for each in addons.storage() if each["kind"] == "StorageClass"]
    assert {each["metadata"]["name"] for each in classes} == set(known)


def test_exactly_one_storage_class_is_the_default_and_it_shares_over_the_nodes() -> None:
    key = "storageclass.kubernetes.io/is-default-class"
    classes = [each for each in addons.storage() if each["kind"] == "StorageClass"]
    defaults = [each["metadata"]["name"] for each in classes if each["metadata"]["annotations"][key] == "true"]
    assert defaults == ["standard"]
    known = json.loads(configs.storage(LAYOUT, (addons.SHARED_CLASS, addons.NODE_CLASS)))["storageClassConfigs"]
    assert known["standard"] == {"sharedFileSystemPath": "/var/lib/x/volumes/shared"}


def test_cluster_names_lead_to_the_process_beside_the_control_plane() -> None:
    service, endpoints = addons.dns(LAYOUT.node(1))
    assert service["spec"]["clusterIP"] == "10.96.0.10"
    assert "selector" not in service["spec"]
    assert endpoints["endpoints"][0]["addresses"] == ["10.200.0.2"]
    assert {port["port"] for port in endpoints["ports"]} == {service["spec"]["ports"][0]["targetPort"]}


def test_every_daemon_can_be_recognised_by_its_command_line() -> None:
    from dev.cluster.local.processes import belongs

    every = [*controlplane.daemons(LAYOUT), *node.known_daemons(LAYOUT.node(2), LAYOUT)]
    assert [daemon.name for daemon in every if not belongs(daemon.argv, LAYOUT.root)] == []
    assert len({daemon.name for daemon in every}) == len(every)


def test_a_node_s_system_folders_lie_in_its_own_folder() -> None:
    second = LAYOUT.node(2)
    assert all(second.folder in own.parents for own in second.private.values())
    assert "/var/lib/kubelet" in second.private, "two kubelets on one machine would fight over the device plugins"


@pytest.mark.parametrize("number", [1, 2])
def test_the_device_plugin_folder_seen_by_the_host_is_the_kubelet_s(number: int) -> None:
    each: Node = LAYOUT.node(number)
    assert each.device_plugins == each.private["/var/lib/kubelet"] / "device-plugins"
