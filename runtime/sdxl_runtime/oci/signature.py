"""Signatures in cosign's format, by a key: a manifest tagged `sha256-<digest>.sig` beside the artefact.

Each layer is a payload that names the artefact's digest, with the signature of its bytes (ECDSA P-256, SHA-256) in an
annotation: github.com/sigstore/cosign, specs/SIGNATURE_SPEC.md. They are for `cosign verify --insecure-ignore-tlog`.
"""

import base64
import binascii
import json
import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sdxl_runtime.oci.content import MANIFEST, Blob, Descriptor, Manifest, Shelf, Target, canonical
from sdxl_runtime.settings import SettingsError
from sdxl_runtime.termination import Failure, Reason

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
KIND = "cosign container image signature"
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


def tag_of(digest: str) -> str:
    """The tag under which the signatures of an artefact are."""
    return f"{digest.replace(':', '-')}.sig"


def private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a private key.

    Raises:
        SettingsError: it is no unencrypted ECDSA P-256 key in PEM; the message says how to make one.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"the key {path} cannot be read ({error}); {_MAKE_ONE}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SettingsError(f"the key {path} is of another kind; {_MAKE_ONE}")
    return key


_MAKE_ONE = (
    "it must be an ECDSA P-256 key in PEM without a password, as "
    "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one"
)


def public_keys(text: str) -> list[ec.EllipticCurvePublicKey]:
    """Read one or several public keys in PEM: while a key is replaced there are two.

    Raises:
        SettingsError: there is none, or one is not ECDSA P-256.
    """
    keys: list[ec.EllipticCurvePublicKey] = []
    for part in _PEM.findall(text):
        try:
            key = load_pem_public_key(part.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SettingsError(f"SDXL_BANK_PUBLIC_KEY holds a key that cannot be read: {error}") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise SettingsError("SDXL_BANK_PUBLIC_KEY holds a key of another kind; it must be ECDSA P-256")
        keys.append(key)
    if not keys:
        raise SettingsError("SDXL_BANK_PUBLIC_KEY holds no key; it must be PEM: -----BEGIN PUBLIC KEY----- and so on")
    return keys


def sign(store: Target, digest: str, name: str, key: ec.EllipticCurvePrivateKey) -> bool:
    """Add a signature beside those that are there; False where this key has signed already.

    `name` is the artefact's repository, which the payload tells; nobody checks it.
    """
    before = _signatures(store, digest)
    if any(_is_signed(store, layer, digest, [key.public_key()]) for layer in before):
        return False
    content = payload(digest, name)
    signature = base64.b64encode(key.sign(content, ec.ECDSA(SHA256()))).decode()
    layer = Descriptor.of(content, PAYLOAD, {ANNOTATION: signature})
    layers = [*before, layer]
    config = _config(layers)
    store.push(Blob(layer, content))
    store.push(Blob(Descriptor.of(config, CONFIG), config))
    store.publish(_manifest(Descriptor.of(config, CONFIG), layers), tag_of(digest))
    return True


def check(store: Shelf, digest: str, keys: list[ec.EllipticCurvePublicKey]) -> None:
    """Whether one of the keys has signed the artefact of this digest.

    Raises:
        Failure: `SignatureInvalid`, none has.
    """
    signatures = _signatures(store, digest)
    if not signatures:
        raise Failure(Reason.SIGNATURE_INVALID, f"{digest} is not signed: there is no {tag_of(digest)} beside it")
    if not any(_is_signed(store, layer, digest, keys) for layer in signatures):
        text = f"none of the {len(signatures)} signatures of {digest} is by a key of SDXL_BANK_PUBLIC_KEY"
        raise Failure(Reason.SIGNATURE_INVALID, text)


def payload(digest: str, name: str) -> bytes:
    """What is signed: the digest of an artefact's manifest, in the form of cosign's simple signing."""
    critical = {"identity": {"docker-reference": name}, "image": {"docker-manifest-digest": digest}, "type": KIND}
    return canonical({"critical": critical, "optional": None})


def _signatures(store: Shelf, digest: str) -> list[Descriptor]:
    content = store.manifest(tag_of(digest))
    if content is None:
        return []
    return [layer for layer in Manifest.parse(content).layers if layer.media_type == PAYLOAD]


def _is_signed(store: Shelf, layer: Descriptor, digest: str, keys: list[ec.EllipticCurvePublicKey]) -> bool:
    content = store.read(layer)
    try:
        signature = base64.b64decode(layer.annotations.get(ANNOTATION, ""), validate=True)
        critical = json.loads(content)["critical"]
        names_it = critical["image"]["docker-manifest-digest"] == digest and critical["type"] == KIND
    except (binascii.Error, ValueError, KeyError, TypeError):
        return False
    return names_it and any(_verifies(key, signature, content) for key in keys)


def _verifies(key: ec.EllipticCurvePublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _config(layers: list[Descriptor]) -> bytes:
    """An image configuration that says nothing: tools for images expect one."""
    never = "0001-01-01T00:00:00Z"
    layer_ids = [layer.digest for layer in layers]
    root = {"type": "layers", "diff_ids": layer_ids}
    history = [{"created": never} for _ in layers]
    return canonical({"architecture": "", "config": {}, "created": never, "history": history, "os": "", "rootfs": root})


def _manifest(config: Descriptor, layers: list[Descriptor]) -> bytes:
    members = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.to_json()}
    return canonical({**members, "layers": [layer.to_json() for layer in layers]})
