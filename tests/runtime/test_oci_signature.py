"""Signatures in cosign's format: who signed is found, and nobody else passes."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sdxl_runtime.oci import signature
from sdxl_runtime.oci.content import Blob, Descriptor, Manifest
from sdxl_runtime.oci.layout import Folder
from sdxl_runtime.settings import SettingsError
from sdxl_runtime.termination import Failure, Reason

DIGEST = "sha256:" + "ab" * 32
OURS, THEIRS = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "layout")


def check(store: Folder, digest: str = DIGEST, keys: str | None = None) -> None:
    signature.check(store, digest, signature.public_keys(pem(OURS) if keys is None else keys))


def refusal(store: Folder, digest: str = DIGEST, keys: str | None = None) -> str:
    with pytest.raises(Failure) as failed:
        check(store, digest, keys)
    assert failed.value.reason is Reason.SIGNATURE_INVALID
    return failed.value.message


def layers(store: Folder) -> list[Descriptor]:
    content = store.manifest(signature.tag_of(DIGEST))
    assert content is not None
    return list(Manifest.parse(content).layers)


def test_what_a_key_signed_passes(store: Folder) -> None:
    assert signature.sign(store, DIGEST, "host/bank", OURS)
    check(store)


def test_what_nobody_signed_does_not(store: Folder) -> None:
    assert "is not signed: there is no sha256-abab" in refusal(store)


def test_what_another_key_signed_does_not(store: Folder) -> None:
    signature.sign(store, DIGEST, "host/bank", THEIRS)
    assert "none of the 1 signatures" in refusal(store)


def test_one_of_several_keys_is_enough_while_one_replaces_the_other(store: Folder) -> None:
    signature.sign(store, DIGEST, "host/bank", THEIRS)
    check(store, keys=f"{pem(OURS)}\n{pem(THEIRS)}")


def test_signatures_stand_beside_each_other_and_none_is_there_twice(store: Folder) -> None:
    assert signature.sign(store, DIGEST, "host/bank", THEIRS)
    assert signature.sign(store, DIGEST, "host/bank", OURS)
    assert not signature.sign(store, DIGEST, "host/bank", OURS)
    assert len(layers(store)) == 2
    check(store)
    check(store, keys=pem(THEIRS))


def test_a_signature_of_another_artefact_does_not_count(store: Folder) -> None:
    other = "sha256:" + "cd" * 32
    signature.sign(store, other, "host/bank", OURS)
    content = store.manifest(signature.tag_of(other))
    assert content is not None
    store.publish(content, signature.tag_of(DIGEST))
    assert "none of the 1 signatures" in refusal(store)


def test_a_payload_that_was_changed_does_not_count(store: Folder) -> None:
    signature.sign(store, "sha256:" + "cd" * 32, "host/bank", OURS)
    signed = Manifest.parse(store.manifest(signature.tag_of("sha256:" + "cd" * 32)) or b"").layers[0]
    forged = signature.payload(DIGEST, "host/bank")
    layer = Descriptor.of(forged, signature.PAYLOAD, signed.annotations)
    store.push(Blob(layer, forged))
    config = Blob(Descriptor.of(b"{}", signature.CONFIG), b"{}")
    store.push(config)
    store.publish(signature._manifest(config.descriptor, [layer]), signature.tag_of(DIGEST))
    refusal(store)


@pytest.mark.parametrize("value", ["", "§", "AAAA", base64.b64encode(b"x" * 70).decode()])
def test_an_annotation_that_is_no_signature_is_refused(store: Folder, value: str) -> None:
    content = signature.payload(DIGEST, "host/bank")
    layer = Descriptor.of(content, signature.PAYLOAD, {signature.ANNOTATION: value})
    config = Blob(Descriptor.of(b"{}", signature.CONFIG), b"{}")
    for blob in (config, Blob(layer, content)):
        store.push(blob)
    store.publish(signature._manifest(config.descriptor, [layer]), signature.tag_of(DIGEST))
    refusal(store)


def test_the_form_is_the_one_that_cosign_writes(store: Folder) -> None:
    signature.sign(store, DIGEST, "host/bank", OURS)
    (layer,) = layers(store)
    assert layer.media_type == "application/vnd.dev.cosign.simplesigning.v1+json"
    assert set(layer.annotations) == {"dev.cosignproject.cosign/signature"}
    assert json.loads(store.read(layer)) == {
        "critical": {
            "identity": {"docker-reference": "host/bank"},
            "image": {"docker-manifest-digest": DIGEST},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    assert signature.tag_of(DIGEST) == f"sha256-{'ab' * 32}.sig"


def test_openssl_verifies_it(store: Folder, tmp_path: Path) -> None:
    signature.sign(store, DIGEST, "host/bank", OURS)
    (layer,) = layers(store)
    (tmp_path / "payload").write_bytes(store.read(layer))
    (tmp_path / "key.pub").write_text(pem(OURS))
    (tmp_path / "signature").write_bytes(base64.b64decode(layer.annotations[signature.ANNOTATION]))
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "payload"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "Verified OK\n"


def test_a_private_key_of_openssl_is_read(tmp_path: Path) -> None:
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert isinstance(signature.private_key(tmp_path / "key.pem"), ec.EllipticCurvePrivateKey)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        private_pem(ec.generate_private_key(ec.SECP384R1())),
        private_pem(rsa.generate_private_key(65537, 2048)),
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
    ],
    ids=["empty", "nonsense", "P-384", "RSA", "cosign's own"],
)
def test_a_private_key_of_another_kind_is_refused_with_how_to_make_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(SettingsError, match="openssl genpkey"):
        signature.private_key(tmp_path / "key.pem")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        pem(ec.generate_private_key(ec.SECP384R1())),
    ],
    ids=["empty", "nonsense", "damaged", "P-384"],
)
def test_a_public_key_that_is_none_is_refused_by_the_variable(text: str) -> None:
    with pytest.raises(SettingsError, match="SDXL_BANK_PUBLIC_KEY"):
        signature.public_keys(text)
