"""Ids that carry their owner: what a signature lets through and what not."""

import base64
from pathlib import Path

import pytest

from sdxl_runtime.settings import Settings, SettingsError
from sdxl_runtime.signing import Kind, Signer, owner_of, read_key

KEY = b"k" * 32


def signer(key: bytes = KEY, owner: str = "10.0.0.7:8001", now: float = 1000) -> Signer:
    return Signer(key, owner, lambda: now)


def test_another_replica_with_the_same_key_reads_what_a_token_says() -> None:
    token, claim = signer().issue(Kind.JOB, 60)
    read = signer(owner="10.0.0.8:8001").verify(token, Kind.JOB)
    assert read == claim
    assert (claim.owner, claim.expires_at, len(claim.id)) == ("10.0.0.7:8001", 1060, 12)


def test_two_tokens_are_never_the_same() -> None:
    assert len({signer().issue(Kind.JOB, 60)[0] for _ in range(100)}) == 100


def test_a_token_is_safe_in_the_path_of_a_url() -> None:
    for _ in range(50):
        token, _claim = signer(owner="[fd00::17]:8001").issue(Kind.PICTURE, 60)
        assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def test_a_token_of_another_kind_or_of_another_key_is_none() -> None:
    token, _ = signer().issue(Kind.JOB, 60)
    assert signer().verify(token, Kind.PICTURE) is None
    assert signer(b"x" * 32).verify(token, Kind.JOB) is None


def test_no_byte_of_a_token_can_be_changed() -> None:
    token, _ = signer().issue(Kind.JOB, 60)
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for place in range(len(raw)):
        changed = bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]])
        forged = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
        assert signer().verify(forged, Kind.JOB) is None


@pytest.mark.parametrize("token", ["", "x", "!!!!", "é" * 40, "A" * 40, "A" * 100_000, "../../metrics", "a b"])
def test_what_is_no_token_is_none_and_no_error(token: str) -> None:
    assert signer().verify(token, Kind.JOB) is None


def test_a_token_has_one_spelling() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    owners = ("h:1", "hh:1", "hhh:1")
    for owner in owners:
        token, _ = signer(owner=owner).issue(Kind.JOB, 60)
        accepted = [last for last in alphabet if signer().verify(token[:-1] + last, Kind.JOB)]
        assert accepted == [token[-1]]
        assert signer().verify(token + "=", Kind.JOB) is None


def test_a_token_is_read_after_its_end_and_says_so() -> None:
    token, _ = signer(now=1000).issue(Kind.JOB, 60)
    claim = signer(now=5000).verify(token, Kind.JOB)
    assert claim is not None
    assert not claim.is_expired(1059.9)
    assert claim.is_expired(1060)


def test_the_key_is_the_files_and_without_a_file_every_process_has_its_own(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(KEY)
    assert read_key(file) == KEY
    assert len(read_key(None)) == 32
    assert read_key(None) != read_key(None)


def test_a_signing_key_that_is_missing_or_short_is_refused_by_the_name_of_its_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SDXL_SIGNING_KEY_PATH is .*No such file"):
        read_key(tmp_path / "none")
    (tmp_path / "short").write_bytes(b"x" * 15)
    with pytest.raises(SettingsError, match=r"15 bytes; it must hold a secret of at least 16"):
        read_key(tmp_path / "short")


def test_the_owner_is_written_as_a_url_has_it() -> None:
    assert owner_of("10.0.0.7", 8001) == "10.0.0.7:8001"
    assert owner_of("fd00::17", 8001) == "[fd00::17]:8001"
    assert owner_of("studio-0.studio.space.svc", 8001) == "studio-0.studio.space.svc:8001"
    assert owner_of("", 8001) == ""


@pytest.mark.parametrize("host", ["a/b", "user@host", "host:80", "http://host", "a b", "host?", "-x", "x\n"])
def test_an_advertised_host_that_is_more_than_a_host_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match="SDXL_ADVERTISED_HOST"):
        owner_of(host, 8001)


def test_the_settings_name_the_files_and_the_host() -> None:
    found = Settings.from_environment(
        {
            "SDXL_API_KEYS_PATH": "/etc/sdxl/keys",
            "SDXL_SIGNING_KEY_PATH": "/etc/sdxl/signing/key",
            "SDXL_ADVERTISED_HOST": "10.0.0.7",
        }
    )
    assert found.api_keys_path == Path("/etc/sdxl/keys")
    assert found.signing_key_path == Path("/etc/sdxl/signing/key")
    assert found.advertised_host == "10.0.0.7"
    empty = Settings.from_environment({})
    assert (empty.api_keys_path, empty.signing_key_path, empty.advertised_host) == (None, None, "")
