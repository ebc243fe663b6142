"""Names of images by content, the locks, and the cache that never holds half a thing."""

import subprocess
from pathlib import Path

import pytest

from dev import cache, engine, images, locks
from dev.cluster import programs
from dev.cluster.local import archive, loading
from dev.images import Image
from dev.shell import Failed, run, shorten, stream, tail


@pytest.fixture
def image(tmp_path: Path) -> Image:
    (tmp_path / "code" / "__pycache__").mkdir(parents=True)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "code" / "a.py").write_text("a = 1\n")
    return Image(name="thing", dockerfile="Dockerfile", copies=("code",))


def test_an_image_s_name_changes_with_its_code(image: Image, tmp_path: Path) -> None:
    before = image.reference(tmp_path)
    (tmp_path / "code" / "a.py").write_text("a = 2\n")
    assert image.reference(tmp_path) != before
    assert before.startswith("localhost/thing:dev-")


def test_an_image_s_name_changes_when_a_file_moves(image: Image, tmp_path: Path) -> None:
    before = image.digest(tmp_path)
    (tmp_path / "code" / "a.py").rename(tmp_path / "code" / "b.py")
    assert image.digest(tmp_path) != before


def test_compiled_files_of_the_checkout_do_not_count(image: Image, tmp_path: Path) -> None:
    before = image.digest(tmp_path)
    (tmp_path / "code" / "__pycache__" / "a.pyc").write_bytes(b"1")
    assert image.digest(tmp_path) == before


@pytest.mark.parametrize("image", [images.OPERATOR, images.RUNTIME], ids=lambda image: image.name)
def test_the_declared_inputs_are_what_the_dockerfile_copies(image: Image) -> None:
    lines = (images.ROOT / image.dockerfile).read_text().splitlines()
    copied = {line.split()[-2] for line in lines if line.startswith("COPY")}
    assert copied == set(image.copies)


@pytest.mark.parametrize("image", [images.OPERATOR, images.RUNTIME], ids=lambda image: image.name)
def test_dockerfiles_end_as_a_user_without_rights_and_start_without_a_shell(image: Image) -> None:
    text = (images.ROOT / image.dockerfile).read_text()
    users = [line.split()[1] for line in text.splitlines() if line.startswith("USER")]
    assert int(users[-1].split(":")[0]) >= 1000
    assert 'ENTRYPOINT ["python3", "-m",' in text


@pytest.mark.parametrize("image", [images.OPERATOR, images.RUNTIME], ids=lambda image: image.name)
def test_code_is_readable_whatever_the_checkout_s_permissions(image: Image) -> None:
    assert f"COPY --chmod=755 {image.copies[1]} " in (images.ROOT / image.dockerfile).read_text()


@pytest.mark.parametrize("image", [images.OPERATOR, images.RUNTIME], ids=lambda image: image.name)
def test_code_is_copied_after_the_dependencies(image: Image) -> None:
    text = (images.ROOT / image.dockerfile).read_text()
    assert text.index("COPY locks/") < text.index("uv pip install") < text.index(f" {image.copies[1]} ")


def test_old_builds_are_forgotten_and_those_of_other_images_are_not() -> None:
    def made(at: int, *names: str) -> dict[str, object]:
        return {"names": list(names), "createdatraw": f"2026-01-0{at}T00:00:00.5Z"}

    listed = [
        made(3, "localhost/a:dev-3", "localhost/a:dev"),
        made(1, "localhost/a:dev-1"),
        made(4, "localhost/a:dev-4"),
        made(2, "localhost/a:dev-2", "localhost/b:dev-1"),
        {"names": None, "createdatraw": "2026-01-09T00:00:00Z"},
    ]
    assert engine.older(listed, "localhost/a:dev-", 2) == ["localhost/a:dev-2", "localhost/a:dev-1"]
    assert engine.older(None, "localhost/a:dev-", 2) == [], "buildah says null where it has none"


def test_an_image_of_another_checkout_is_never_the_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (images.OPERATOR.dockerfile, *images.OPERATOR.copies):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("another")
    tagged: list[list[str]] = []
    monkeypatch.setattr(images, "docker_answers", lambda: True)
    monkeypatch.setattr(images, "image_exists", lambda reference: True)
    monkeypatch.setattr(images, "run", tagged.append)
    other, own = images.build(["operator"], tmp_path), images.build(["operator"])
    assert other != own
    assert tagged == [["docker", "tag", own["operator"], images.OPERATOR.latest]]


def test_locks_pin_every_package_and_name_no_host() -> None:
    for extra in locks.CONSTRAINTS:
        lines = [line for line in (locks.LOCKS / f"{extra}.txt").read_text().splitlines() if line[:1] not in ("#", "")]
        assert lines
        assert all("==" in line and "://" not in line for line in lines), extra


def test_a_lock_leaves_to_torch_what_only_torch_with_cuda_needs() -> None:
    text = (
        "nvidia-cublas==1 ; sys_platform == 'linux'\ntriton==3\ntorch==2.12.1\ncolorama==1 ; sys_platform == 'win32'\n"
    )
    assert locks.linux_only(text) == "torch==2.12.1\n"


def test_the_default_wheel_is_taken_at_once_where_the_cpu_index_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(images, "torch_index_answers", lambda: False)
    assert images._build_args(images.RUNTIME) == []
    monkeypatch.setattr(images, "torch_index_answers", lambda: True)
    assert images._build_args(images.RUNTIME)[0] == "--build-arg"
    assert images._build_args(images.OPERATOR) == []


def test_an_unknown_image_is_named_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert images.main(["oprator"]) == 1
    assert "operator, runtime" in capsys.readouterr().err


def test_something_is_in_the_cache_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    target = tmp_path / "programs" / "tool"

    def interrupted(unfinished: Path) -> None:
        unfinished.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.build_once(target, interrupted)
    assert not target.exists()
    assert cache.build_once(target, lambda unfinished: unfinished.touch()) == target
    assert list(target.parent.iterdir()) == [target]


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / ".unfinished-tool-1" / "half").mkdir(parents=True)
    (tmp_path / ".unfinished-other-1").mkdir()
    cache.build_once(tmp_path / "tool", lambda unfinished: unfinished.touch())
    assert sorted(path.name for path in tmp_path.glob(".unfinished-*")) == [".unfinished-other-1"]


def test_what_is_in_the_cache_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "tool").touch()
    cache.build_once(tmp_path / "tool", lambda unfinished: pytest.fail("built again"))


def test_a_program_of_another_version_is_another_file() -> None:
    old = programs.Program(name="helm", module="m", version="v1", package="m")
    new = programs.Program(name="helm", module="m", version="v2", package="m")
    assert old.target != new.target


def test_kubernetes_staging_modules_are_replaced_by_their_released_versions() -> None:
    go_mod = "require (\n\tk8s.io/api v0.0.0\n\tk8s.io/utils v0.0.0-20260108\n\tk8s.io/klog/v2 v2.130.1\n)\n"
    assert programs.staging_replaces(go_mod, "v1.35.4") == ["replace k8s.io/api => k8s.io/api v0.35.4"]


@pytest.mark.parametrize(("text", "expected"), [("go version go1.26.8 linux/amd64", (1, 26)), ("nonsense", (0, 0))])
def test_go_s_version_is_read(text: str, expected: tuple[int, int]) -> None:
    assert programs.go_version(text) == expected


def test_only_images_named_localhost_can_be_loaded() -> None:
    assert loading.repository("localhost/sdxl-operator:dev") == "sdxl-operator:dev"
    with pytest.raises(Failed, match="localhost/NAME:TAG"):
        loading.repository("registry.example/sdxl:1")


def test_the_tools_image_is_a_readable_archive_with_the_pause_command(tmp_path: Path) -> None:
    program = tmp_path / "node-tools"
    program.write_bytes(b"\x7fELF" + bytes(14) + b"\x3e\x00")
    (tmp_path / "image.tar").write_bytes(archive.archive(program, "localhost/x:1", "node-tools", "pause", ["volume"]))
    listed = subprocess.run(["tar", "-tf", tmp_path / "image.tar"], capture_output=True, text=True, check=True).stdout
    assert "manifest.json" in listed.split()


def test_a_program_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(Failed, match="ended with 3:\n    no such luck"):
        run(["sh", "-c", "echo no such luck >&2; exit 3"])
    with pytest.raises(Failed, match="not installed"):
        run(["no-such-program-anywhere"])


def test_a_long_program_that_fails_says_where_its_log_is(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"whole log: .*build\.log"):
        stream(["sh", "-c", "echo first; exit 1"], log=tmp_path / "logs" / "build.log")


def test_messages_stay_readable() -> None:
    assert len(shorten(["word"] * 100)) == 120
    assert tail("").strip() == "(it wrote nothing)"
