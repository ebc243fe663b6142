"""The AcceleratorProfiles that the operator finds in the chart's ConfigMap."""

from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from dev.chart import CHART
from sdxl_operator.api import ProfileSpec
from sdxl_operator.api.profile import Backend


def profiles(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    files = [item["data"] for item in objects if item["kind"] == "ConfigMap"]
    return {name: yaml.safe_load(text) for data in files for name, text in data.items()}


def unknown_fields(given: Any, model: BaseModel) -> list[str]:
    """Fields that the model does not have, by what is missing when it is written out again."""
    kept = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    return [] if kept == given else [f"{given} became {kept}"]


def test_the_default_profiles_are_cpu_simulated_and_ascend(render: Any) -> None:
    assert sorted(profiles(render("default"))) == ["ascend-910b.yaml", "cpu.yaml", "simulated.yaml"]


def test_each_profile_is_one_that_the_operator_can_read_whole(render: Any) -> None:
    for values in ("default", "custom"):
        for name, profile in profiles(render(values)).items():
            assert profile["kind"] == "AcceleratorProfile"
            assert profile["metadata"]["name"] == name.removesuffix(".yaml")
            assert unknown_fields(profile["spec"], ProfileSpec.model_validate(profile["spec"])) == []


def test_a_field_that_the_operator_would_ignore_is_noticed() -> None:
    class Known(BaseModel):
        model_config = ConfigDict(extra="ignore")
        image: str

    given = {"image": "a", "imagge": "b"}
    assert unknown_fields(given, Known.model_validate(given))


def test_ascend_pods_need_nothing_but_the_device_plugin_and_its_labels(render: Any) -> None:
    spec = ProfileSpec.model_validate(profiles(render("default"))["ascend-910b.yaml"]["spec"])
    assert spec.backend is Backend.NPU
    assert spec.resource
    assert (spec.resource.name, spec.resource.count) == ("huawei.com/Ascend910", 1)
    assert spec.runtime_class_name == ""
    assert spec.scheduler_name == ""
    assert spec.host_mounts == []
    assert spec.node_selector == {"accelerator": "huawei-Ascend910"}
    environment = {variable.name: variable.value for variable in spec.environment}
    assert environment == {"TASK_QUEUE_ENABLE": "2", "ASCEND_SLOG_PRINT_TO_STDOUT": "1"}


def test_no_profile_sets_which_cards_a_container_sees(render: Any) -> None:
    for profile in profiles(render("default")).values():
        assert not [item for item in profile["spec"].get("environment", []) if "VISIBLE" in item["name"]]


def test_a_profile_without_image_gets_the_one_of_its_backend(render: Any) -> None:
    images = {name: profile["spec"]["image"] for name, profile in profiles(render("default")).items()}
    assert images == {
        "ascend-910b.yaml": "sdxl-runtime:0.1.0-npu",
        "cpu.yaml": "sdxl-runtime:0.1.0-cpu",
        "simulated.yaml": "sdxl-runtime:0.1.0-cpu",
    }


def test_a_profiles_own_image_and_additions_win(render: Any) -> None:
    custom = profiles(render("custom"))
    assert custom["ascend-910b.yaml"]["spec"]["image"].startswith("registry.example/sdxl/runtime@sha256:")
    assert custom["ascend-910b.yaml"]["spec"]["tolerations"][0]["key"] == "huawei.com/Ascend910"
    assert custom["ascend-910b-hami.yaml"]["spec"]["resource"] == {"name": "huawei.com/Ascend910B3"}
    assert "simulated.yaml" not in custom
    assert {profile["spec"]["imagePullPolicy"] for profile in custom.values()} == {"Always"}


def test_profiles_that_are_not_applied_are_not_mounted_either(render: Any) -> None:
    objects = render("namespaced")
    assert profiles(objects) == {}
    assert "SDXL_OPERATOR_PROFILES_FOLDER" not in str(objects)


def test_other_profiles_restart_the_operator(render: Any) -> None:
    def annotations(*words: str) -> Any:
        (deployment,) = (item for item in render("default", *words) if item["kind"] == "Deployment")
        return deployment["spec"]["template"]["metadata"]["annotations"]

    assert annotations() != annotations("--set", "profiles.cpu.spec.startupBudgetSeconds=60")


def test_hardware_that_was_not_tried_is_said_to_be_so() -> None:
    assert "NOT verified on hardware" in (CHART / "values.yaml").read_text()
