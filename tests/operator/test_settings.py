"""What the operator makes of its environment."""

import re
from pathlib import Path

import pytest

from sdxl_operator.settings import PREFIX, OperatorSettings, SettingsError


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = OperatorSettings.from_environment({})
    assert (settings.namespace, settings.resync_seconds, settings.retention_grace_seconds) == ("", 300, 600)
    assert (settings.health_port, settings.metrics_port) == (8080, 8081)


def test_every_field_can_be_set_by_its_variable() -> None:
    given = {
        "NAMESPACE": "team-a",
        "WORKERS": "2",
        "RESYNC_SECONDS": "60",
        "FETCH_IMAGE": "fetch:1",
        "FETCH_IMAGE_PULL_POLICY": "Never",
        "FETCH_ENVIRONMENT": "{'HF_ENDPOINT': 'https://mirror'}",
        "PROFILES_FOLDER": "/profiles",
        "RETENTION_GRACE_SECONDS": "0",
        "BIND_ADDRESS": "127.0.0.1",
        "HEALTH_PORT": "0",
        "METRICS_PORT": "9000",
        "QUERIES_PER_SECOND": "12.5",
        "REQUEST_TIMEOUT_SECONDS": "3",
        "STOP_TIMEOUT_SECONDS": "1",
        "LOG_LEVEL": "DEBUG",
    }
    written = {**given, "FETCH_ENVIRONMENT": given["FETCH_ENVIRONMENT"].replace("'", '"')}
    settings = OperatorSettings.from_environment({f"{PREFIX}{name}": value for name, value in written.items()})
    assert {name.upper() for name in OperatorSettings.model_fields} == given.keys()
    for name, value in given.items():
        assert str(getattr(settings, name.lower())).removesuffix(".0") == value
    assert settings.profiles_folder == Path("/profiles")


def test_every_field_has_a_sentence() -> None:
    for name, field in OperatorSettings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_other_variables_and_empty_ones_are_left_alone() -> None:
    environment = {"PATH": "/bin", "SDXL_PORT": "x", f"{PREFIX}WORKERS": ""}
    assert OperatorSettings.from_environment(environment) == OperatorSettings()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORKERS": "many"}, "SDXL_OPERATOR_WORKERS is 'many': input should be a valid integer"),
        ({"WORKERS": "0"}, "SDXL_OPERATOR_WORKERS is '0': input should be greater than or equal to 1"),
        ({"LOG_LEVEL": "LOUD"}, "SDXL_OPERATOR_LOG_LEVEL is 'LOUD': input should be 'DEBUG'"),
        ({"FETCH_ENVIRONMENT": "HF_ENDPOINT=x"}, "it must be a JSON object like"),
        ({"FETCH_ENVIRONMENT": "[]"}, "input should be a valid dictionary"),
        ({"FETCH_ENVIRONMENT": '{"A": 1}'}, "input should be a valid string"),
        ({"FETCH_ENVIRONMENT": '{"SDXL_MODEL_PATH": "/"}'}, "SDXL_MODEL_PATH is not for the admin to set"),
        ({"FETCH_ENVIRONMENT": '{"HOME": "/"}'}, "HOME is not for the admin to set"),
        ({"NAMESPACES": "a"}, "SDXL_OPERATOR_NAMESPACES is not a setting; there are SDXL_OPERATOR_NAMESPACE"),
    ],
)
def test_a_wrong_variable_is_named_with_what_would_be_right(variables: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        OperatorSettings.from_environment({f"{PREFIX}{name}": value for name, value in variables.items()})


def test_all_wrong_variables_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"WORKERS.*; .*HEALTH_PORT"):
        OperatorSettings.from_environment({f"{PREFIX}WORKERS": "x", f"{PREFIX}HEALTH_PORT": "-1"})
