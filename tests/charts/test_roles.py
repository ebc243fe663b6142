"""What the operator may do is what it does: no verb more, none less."""

import ast
from collections import defaultdict
from typing import Any

from dev.chart import ROOT
from sdxl_operator.cluster.transport import PLURALS

Rights = dict[tuple[str, str], set[str]]

READ = {"get", "list", "watch"}
CHILD = READ | {"create", "patch", "delete"}
SERVED: Rights = {
    ("sdxl.dev", "sdxlservices"): READ,
    ("sdxl.dev", "sdxlmodels"): CHILD,
    ("sdxl.dev", "sdxltunebanks"): CHILD,
    **{("sdxl.dev", f"{kind}/status"): {"patch"} for kind in ("sdxlservices", "sdxlmodels", "sdxltunebanks")},
    **{("sdxl.dev", f"{kind}/finalizers"): {"update"} for kind in ("sdxlservices", "sdxlmodels", "sdxltunebanks")},
    ("", "configmaps"): CHILD,
    ("", "persistentvolumeclaims"): CHILD,
    ("", "services"): CHILD,
    ("", "secrets"): {"create"},
    ("apps", "controllerrevisions"): CHILD,
    ("apps", "deployments"): CHILD,
    ("batch", "jobs"): CHILD,
    ("policy", "poddisruptionbudgets"): CHILD,
    ("", "pods"): READ,
    ("", "events"): READ,
    ("events.k8s.io", "events"): {"create", "patch"},
}
PROFILES = ("sdxl.dev", "acceleratorprofiles")
NODES = ("", "nodes")
CRDS = ("apiextensions.k8s.io", "customresourcedefinitions")


def rights(objects: list[dict[str, Any]], kind: str, name: str) -> Rights:
    """What a role allows, by group and resource."""
    found: Rights = defaultdict(set)
    for item in objects:
        if (item["kind"], item["metadata"]["name"]) == (kind, name):
            for rule in item["rules"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        found[group, resource] |= set(rule["verbs"])
    return dict(found)


def kinds_in_the_operators_source() -> set[str]:
    """The kinds that stand as a word of their own anywhere but in the client's table."""
    texts = [path.read_text() for path in (ROOT / "operator").rglob("*.py") if path.name != "transport.py"]
    literals = (node.value for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
    return {kind for _, kind in PLURALS} & {literal for literal in literals if isinstance(literal, str)}


def test_the_operator_may_touch_the_kinds_that_its_source_names_and_no_others(render: Any) -> None:
    allowed = rights(render("default"), "ClusterRole", "release-sdxl-operator")
    kinds = {(version.rpartition("/")[0], plural): kind for (version, kind), plural in PLURALS.items()}
    assert {kinds[key] for key in allowed if "/" not in key[1]} == kinds_in_the_operators_source()


def test_serving_all_namespaces_takes_one_cluster_role(render: Any) -> None:
    objects = render("default")
    expected = SERVED | {PROFILES: READ | {"create", "patch"}, CRDS: {"get"}, NODES: READ}
    assert rights(objects, "ClusterRole", "release-sdxl-operator") == expected
    assert not [item for item in objects if item["kind"] == "Role"]


def test_serving_one_namespace_takes_a_role_there_and_reading_profiles_and_nodes(render: Any) -> None:
    objects = render("namespaced")
    assert rights(objects, "Role", "release-sdxl-operator") == SERVED
    cluster_wide = {PROFILES: READ, CRDS: {"get"}, NODES: READ}
    assert rights(objects, "ClusterRole", "release-sdxl-operator") == cluster_wide
    for role in (item for item in objects if item["kind"] in ("Role", "RoleBinding")):
        assert role["metadata"]["namespace"] == "studio"


def test_nothing_is_allowed_by_a_star(objects: list[dict[str, Any]]) -> None:
    for role in (item for item in objects if item["kind"] in ("Role", "ClusterRole")):
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]


def test_nodes_are_read_only_where_the_values_allow_it(render: Any) -> None:
    objects = render("default", "--set", "rbac.nodes=false")
    assert NODES not in rights(objects, "ClusterRole", "release-sdxl-operator")


def test_the_operator_reads_no_secret_and_writes_no_node(objects: list[dict[str, Any]]) -> None:
    for kind in ("Role", "ClusterRole"):
        allowed = rights(objects, kind, "release-sdxl-operator")
        assert allowed.get(("", "secrets"), {"create"}) == {"create"}
        assert allowed.get(NODES, READ) == READ
        assert not {resource for _, resource in allowed} & {"nodes/status", "pods/exec", "serviceaccounts"}


def test_every_binding_names_the_operators_account_and_a_role_that_is_there(objects: list[dict[str, Any]]) -> None:
    roles = {(item["kind"], item["metadata"]["name"]) for item in objects if item["kind"] in ("Role", "ClusterRole")}
    (account,) = (item["metadata"] for item in objects if item["kind"] == "ServiceAccount")
    (deployment,) = (item for item in objects if item["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account["name"]
    bindings = [item for item in objects if item["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    assert bindings
    for binding in bindings:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in roles
        subject = {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
        assert binding["subjects"] == [subject]


def test_who_may_edit_a_namespace_may_edit_services_but_not_make_models(render: Any) -> None:
    edit = rights(render("default"), "ClusterRole", "release-sdxl-operator-edit")
    assert {"create", "patch", "delete"} <= edit["sdxl.dev", "sdxlservices"]
    assert "create" not in edit["sdxl.dev", "sdxlmodels"]
    view = rights(render("default"), "ClusterRole", "release-sdxl-operator-view")
    assert set().union(*view.values()) == READ
