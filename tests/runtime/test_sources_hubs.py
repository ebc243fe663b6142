"""A model from a hub, by the hub's real client: what is fetched, what is not, and who may."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdxl_runtime import sources
from sdxl_runtime.layout import check, measure
from sdxl_runtime.progress import Progress
from sdxl_runtime.settings import ModelContent, Settings, SettingsError
from sdxl_runtime.sources.record import NAME as RECORD
from sdxl_runtime.termination import Reason
from tests.runtime.fakehub import COMMIT, LIST, REPOSITORY, FakeHub, Fault
from tests.runtime.hub_world import (
    OTHERS,
    SCHEMES,
    UNET,
    VAE,
    abridged,
    contents,
    failure,
    fetch,
    files_of,
    hub_of,
    settings_for,
)

TOKEN = "hf_s3cret0f5omebody"
EACH_HUB = pytest.mark.parametrize("scheme", SCHEMES)


@pytest.fixture(scope="module")
def model() -> dict[str, bytes]:
    """The demo model's files, abridged."""
    return abridged("demo://shapes")


@pytest.fixture
def hub(model: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with hub_of({**model, **OTHERS}, monkeypatch, tmp_path / "home") as found:
        yield found


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models" / "it"


@EACH_HUB
def test_a_variants_files_are_fetched_and_nothing_else(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str
) -> None:
    message = sources.fetch(settings_for(target, scheme), Progress())
    assert contents(target) == model
    assert {path for path in hub.served if path in OTHERS} == set()
    assert sorted(path.name for path in target.parent.iterdir()) == ["it"]
    assert (message["files"], message["sizeMultiple"]) == (len(model), 32)
    assert message["bytes"] == sum(map(len, model.values()))


@EACH_HUB
def test_a_hubs_model_has_the_digest_of_the_same_files_from_elsewhere(hub: FakeHub, target: Path, scheme: str) -> None:
    hub.files = files_of("demo://shapes")
    copied = Settings(model_source="demo://shapes", model_variant="fp16", model_path=target.parent / "copied")
    assert (
        sources.fetch(settings_for(target, scheme), Progress())["digest"] == sources.fetch(copied, Progress())["digest"]
    )


@EACH_HUB
def test_a_model_that_is_there_is_not_asked_for_again(hub: FakeHub, target: Path, scheme: str) -> None:
    fetch(settings_for(target, scheme))
    before, inode = len(hub.asked), (target / UNET).stat().st_ino
    fetch(settings_for(target, scheme))
    assert len(hub.asked) == before
    assert (target / UNET).stat().st_ino == inode


@EACH_HUB
@pytest.mark.parametrize("damage", ["flipped", "shorter", "gone", "record"])
def test_a_damaged_model_is_made_anew(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str, damage: str
) -> None:
    fetch(settings_for(target, scheme))
    content = model[VAE]
    match damage:
        case "flipped":
            (target / VAE).write_bytes(bytes([content[0] ^ 1]) + content[1:])
        case "shorter":
            (target / VAE).write_bytes(content[:-1])
        case "gone":
            (target / VAE).unlink()
        case "record":
            (target / RECORD).write_text("{")
    fetch(settings_for(target, scheme))
    assert contents(target) == model


@EACH_HUB
def test_a_new_revision_takes_the_place_of_the_one_before(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str
) -> None:
    fetch(settings_for(target, scheme))
    hub.commit = "f" * 40
    hub.files[UNET] = hub.files[UNET][:-8] + b"trained!"
    fetch(settings_for(target, scheme, model_revision="f" * 40))
    assert contents(target) == {**model, UNET: hub.files[UNET]}
    assert json.loads((target / RECORD).read_text())["revision"] == "f" * 40


@EACH_HUB
def test_what_was_staged_of_another_revision_is_swept(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str
) -> None:
    staging = target.parent / ".staging-it"
    (staging / "unet").mkdir(parents=True)
    (staging / RECORD).write_text(json.dumps({"source": f"{scheme}://{REPOSITORY}", "revision": "e" * 40}))
    (staging / f"{UNET}.partial").write_bytes(b"of another revision")
    fetch(settings_for(target, scheme))
    assert contents(target) == model
    assert hub.served[UNET] == len(model[UNET])
    assert not staging.exists()


@EACH_HUB
def test_a_missing_file_is_named_before_any_weight_is_loaded(hub: FakeHub, target: Path, scheme: str) -> None:
    del hub.files[VAE]
    failed = failure(settings_for(target, scheme))
    assert failed.reason is Reason.MODEL_INVALID
    assert f"{VAE} is missing" in failed.message
    assert hub.served[UNET] == 0
    assert not target.exists()


@EACH_HUB
def test_a_variant_that_is_not_there_says_what_to_set(hub: FakeHub, target: Path, scheme: str) -> None:
    assert failure(settings_for(target, scheme, model_variant="bf16")).message.endswith("set the variant to fp16")


@EACH_HUB
def test_a_repository_without_a_pipeline_says_what_it_holds(hub: FakeHub, target: Path, scheme: str) -> None:
    hub.files = {"README.md": b"", "lora/pixel.safetensors": b""}
    failed = failure(settings_for(target, scheme))
    assert failed.reason is Reason.MODEL_MISSING
    assert failed.message.endswith("has no model_index.json; it holds README.md, lora/")


@EACH_HUB
def test_a_pipeline_may_be_in_a_folder_of_the_repository(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str
) -> None:
    hub.files = {"README.md": b"", **{f"sdxl/base/{path}": content for path, content in model.items()}}
    fetch(settings_for(target, scheme, "sdxl/base"))
    assert contents(target) == model


@EACH_HUB
@pytest.mark.parametrize("path", ["", "pytorch_lora_weights.safetensors"])
def test_an_adapter_is_the_repositorys_only_file_or_the_one_that_is_named(
    hub: FakeHub, target: Path, scheme: str, path: str
) -> None:
    hub.files = {**files_of("demo://pixel"), "README.md": b"", "more/other.safetensors": b"another"}
    message = sources.fetch(settings_for(target, scheme, path, model_content=ModelContent.ADAPTER), Progress())
    assert (message["files"], message["rank"]) == (1, 8)
    assert list(contents(target)) == ["pytorch_lora_weights.safetensors"]
    assert set(hub.served) == {"pytorch_lora_weights.safetensors"}


@EACH_HUB
def test_several_adapters_in_one_folder_are_listed_with_how_to_name_one(
    hub: FakeHub, target: Path, scheme: str
) -> None:
    hub.files = {"styles/ink.safetensors": b"1", "styles/oil.safetensors": b"2"}
    failed = failure(settings_for(target, scheme, "styles", model_content=ModelContent.ADAPTER))
    assert failed.reason is Reason.MODEL_INVALID
    assert failed.message.endswith(f"as {scheme}://{REPOSITORY}/styles/ink.safetensors")


@EACH_HUB
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("styles", "has no .safetensors file; styles holds readme.txt"),
        ("styles/ink.safetensors", "has no ink.safetensors; styles holds readme.txt"),
        ("ink.safetensors", "has no ink.safetensors; it holds styles/"),
    ],
)
def test_an_adapter_that_is_not_there_says_what_is(
    hub: FakeHub, target: Path, scheme: str, path: str, said: str
) -> None:
    hub.files = {"styles/readme.txt": b""}
    failed = failure(settings_for(target, scheme, path, model_content=ModelContent.ADAPTER))
    assert failed.reason is Reason.MODEL_MISSING
    assert failed.message.endswith(said)


@EACH_HUB
def test_what_is_no_lora_never_gets_its_name(hub: FakeHub, target: Path, scheme: str) -> None:
    hub.files = {"ink.safetensors": b"no tensors"}
    failed = failure(settings_for(target, scheme, model_content=ModelContent.ADAPTER))
    assert failed.reason is Reason.MODEL_INVALID
    assert not target.exists()


@EACH_HUB
def test_a_refiner_is_checked_as_one(hub: FakeHub, target: Path, scheme: str) -> None:
    hub.files = abridged("demo://shapes-refiner")
    fetch(settings_for(target, scheme, model_content=ModelContent.REFINER))
    assert measure(check(target, "fp16", ModelContent.REFINER)).files == len(hub.files)
    failed = failure(settings_for(target.parent / "other", scheme))
    assert "set the content to Refiner" in failed.message


@EACH_HUB
@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "unet/../../evil"])
def test_a_path_that_leads_elsewhere_is_left_alone(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str, name: str
) -> None:
    hub.files[name] = b"evil"
    fetch(settings_for(target, scheme))
    assert contents(target) == model
    assert not list(target.parent.parent.rglob("*evil*"))


@EACH_HUB
def test_a_shard_elsewhere_is_refused(hub: FakeHub, target: Path, scheme: str) -> None:
    del hub.files[UNET]
    index = "unet/diffusion_pytorch_model.safetensors.index.fp16.json"
    hub.files[index] = json.dumps({"weight_map": {"a": "../../secret"}}).encode()
    failed = failure(settings_for(target, scheme))
    assert failed.reason is Reason.MODEL_INVALID
    assert "'../../secret'; a shard must be a file beside it" in failed.message


@EACH_HUB
def test_shards_are_fetched_by_their_index(hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str) -> None:
    del hub.files[UNET]
    names = [f"diffusion_pytorch_model.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    shards = {f"unet/{name}": name.encode() for name in names}
    hub.files |= shards
    hub.files["unet/diffusion_pytorch_model.safetensors.index.fp16.json"] = json.dumps(index).encode()
    fetch(settings_for(target, scheme))
    assert shards.items() <= contents(target).items()
    assert len(contents(target)) == len(model) + 2


@EACH_HUB
def test_two_at_once_load_it_once(hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str) -> None:
    threads = [threading.Thread(target=fetch, args=(settings_for(target, scheme),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents(target) == model
    assert hub.served[UNET] == len(model[UNET])


@EACH_HUB
def test_progress_counts_each_byte_once(hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str) -> None:
    hub.faults[UNET] = [Fault(cut_after=5000), Fault(flip=True), Fault(cut_after=5000, announced=False)]
    state = fetch(settings_for(target, scheme)).state
    assert (state.stage, state.bytes, state.total_bytes) == ("Downloading", *[sum(map(len, model.values()))] * 2)


@EACH_HUB
def test_a_volume_without_room_is_told_before_any_weight_is_loaded(
    hub: FakeHub, target: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("sdxl_runtime.sources.volume.shutil.disk_usage", lambda path: usage)
    failed = failure(settings_for(target, scheme))
    assert failed.reason is Reason.VOLUME_FULL
    assert "1000 are free" in failed.message
    assert hub.served[UNET] == 0


# Who may.


def token_file(tmp_path: Path, *tokens: str) -> Path:
    """Tokens as a Secret's keys are mounted."""
    folder = tmp_path / "tokens"
    (folder / "..data").mkdir(parents=True)
    for number, token in enumerate(tokens):
        (folder / f"{number:02}").write_text(f"{token}\n")
    return folder


@EACH_HUB
@pytest.mark.parametrize("tokens", [(TOKEN,), ("hf_expired", TOKEN)], ids=["one", "the second"])
def test_a_token_that_may_read_it_is_enough_and_goes_to_no_other_host(
    hub: FakeHub, model: dict[str, bytes], target: Path, tmp_path: Path, scheme: str, tokens: tuple[str, ...]
) -> None:
    hub.tokens = {TOKEN}
    fetch(settings_for(target, scheme, model_token_path=token_file(tmp_path, *tokens)))
    assert contents(target) == model
    assert any(line.startswith("storage") for line in hub.asked)
    assert hub.leaks == []


@pytest.mark.parametrize(
    ("tokens", "said"),
    [((), "it asks for a token: accept its licence at"), (("hf_other",), "the token may not read it: accept its")],
)
def test_a_gated_repository_says_to_accept_its_licence_and_where(
    hub: FakeHub, target: Path, tmp_path: Path, tokens: tuple[str, ...], said: str
) -> None:
    hub.tokens, hub.gated = {TOKEN}, True
    failed = failure(settings_for(target, "hf", model_token_path=token_file(tmp_path, *tokens)))
    assert failed.reason is Reason.SOURCE_UNAUTHORIZED
    assert said in failed.message
    assert f"{hub.endpoint}/{REPOSITORY}" in failed.message
    assert failed.message.endswith("in tokenSecretRef")


@EACH_HUB
@pytest.mark.parametrize("tokens", [(), ("hf_other",), ("hf_other", "hf_another")])
def test_a_private_repository_asks_for_a_token(
    hub: FakeHub, target: Path, tmp_path: Path, scheme: str, tokens: tuple[str, ...]
) -> None:
    hub.tokens = {TOKEN}
    failed = failure(settings_for(target, scheme, model_token_path=token_file(tmp_path, *tokens)))
    assert failed.reason in (Reason.SOURCE_UNAUTHORIZED, Reason.SOURCE_NOT_FOUND)
    assert "token" in failed.message


@EACH_HUB
@pytest.mark.parametrize("gated", [False, True])
def test_no_log_and_no_message_has_the_token_although_the_hub_echoes_it(
    hub: FakeHub,
    target: Path,
    tmp_path: Path,
    scheme: str,
    gated: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    hub.tokens, hub.gated = {"another"}, gated
    settings = settings_for(
        target, scheme, model_token_path=token_file(tmp_path, TOKEN), termination_log=tmp_path / "termination-log"
    )
    assert sources.main(settings) == 1
    assert "SourceUnauthorized" in (tmp_path / "termination-log").read_text()
    assert TOKEN not in (tmp_path / "termination-log").read_text()
    assert TOKEN not in caplog.text


@EACH_HUB
def test_the_clients_own_variable_has_a_token_too(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens = {TOKEN}
    monkeypatch.setenv({"hf": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}[scheme], TOKEN)
    fetch(settings_for(target, scheme))
    assert contents(target) == model


# What is not there, and what is no hub.


@EACH_HUB
def test_a_repository_that_does_not_exist_is_named(hub: FakeHub, target: Path, scheme: str) -> None:
    failed = failure(settings_for(target, scheme, model_source=f"{scheme}://team/shaeps"))
    assert failed.reason is Reason.SOURCE_NOT_FOUND
    assert "no repository team/shaeps" in failed.message


@EACH_HUB
def test_a_commit_that_does_not_exist_is_named(hub: FakeHub, target: Path, scheme: str) -> None:
    failed = failure(settings_for(target, scheme, model_revision="d" * 40))
    assert failed.reason is Reason.SOURCE_NOT_FOUND
    assert "d" * 40 in failed.message


@EACH_HUB
def test_a_page_that_is_no_hub_is_called_so(hub: FakeHub, target: Path, scheme: str) -> None:
    hub.forever[LIST] = Fault(body=b"<html>please log in to the guest network</html>")
    failed = failure(settings_for(target, scheme))
    assert failed.reason is Reason.SOURCE_UNAVAILABLE
    assert not target.exists()


@EACH_HUB
def test_a_hub_that_cannot_be_reached_says_where_to_name_a_proxy(
    target: Path, scheme: str, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    failed = failure(settings_for(target, scheme))
    assert failed.reason is Reason.SOURCE_UNAVAILABLE
    assert "http://127.0.0.1:9 can be reached" in failed.message
    assert "fetch.environment" in failed.message


@EACH_HUB
def test_a_proxy_is_gone_through(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", hub.endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # the storage
    for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
        monkeypatch.setenv(name, "http://hub.invalid")
    fetch(settings_for(target, scheme))
    assert contents(target) == model
    assert any("http://hub.invalid/" in line for line in hub.asked)


def test_modelscopes_older_variable_names_a_mirror_too(
    hub: FakeHub, model: dict[str, bytes], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELSCOPE_ENDPOINT")
    monkeypatch.setenv("MODELSCOPE_DOMAIN", hub.endpoint)
    fetch(settings_for(target, "modelscope"))
    assert contents(target) == model


# Settings.


@EACH_HUB
@pytest.mark.parametrize("rest", ["", "team", "team/", "/shapes", "team/../other", "team/shapes/../x", "te am/shapes"])
def test_a_source_that_names_no_repository_is_wrong_settings(target: Path, scheme: str, rest: str) -> None:
    with pytest.raises(SettingsError, match=rf"it must be like {scheme}://<owner>/<repository>"):
        sources.fetch(settings_for(target, scheme, model_source=f"{scheme}://{rest}"), Progress())


@EACH_HUB
@pytest.mark.parametrize("revision", ["", "main", "v1.0.9", "C0FFEE" * 6 + "C0FF", COMMIT[:12]])
def test_a_revision_that_can_move_is_wrong_settings(target: Path, scheme: str, revision: str) -> None:
    with pytest.raises(SettingsError, match=r"SDXL_MODEL_REVISION is .* it must be a commit, 40 hex digits"):
        sources.fetch(settings_for(target, scheme, model_revision=revision), Progress())


def test_a_revision_of_what_has_none_is_wrong_settings(target: Path) -> None:
    settings = Settings(model_source="demo://shapes", model_revision=COMMIT, model_path=target)
    with pytest.raises(SettingsError, match="a demo:// source has none"):
        sources.fetch(settings, Progress())


@pytest.mark.parametrize("content", ["two words", "two\nlines", "tökén"])
def test_a_file_that_holds_no_token_is_wrong_settings_and_is_not_quoted(
    target: Path, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(SettingsError, match="the file token must hold a token") as failed:
        sources.fetch(settings_for(target, "hf", model_token_path=path), Progress())
    assert content not in str(failed.value)


def test_a_token_that_cannot_be_read_is_wrong_settings(target: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SDXL_MODEL_TOKEN_PATH is .* cannot be read"):
        sources.fetch(settings_for(target, "hf", model_token_path=tmp_path / "none"), Progress())


def test_the_demo_needs_no_hubs_client() -> None:
    code = "import sys, sdxl_runtime.sources, sdxl_runtime.sources.demo; print('huggingface_hub' in sys.modules)"
    root = Path(__file__).resolve().parents[2] / "runtime"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root).stdout == "False\n"
