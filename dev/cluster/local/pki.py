"""Certificates and kubeconfigs, made with the openssl command. Each file is whole or absent."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dev.cluster.local import configs
from dev.cluster.local.layout import API_SERVICE, Layout, Node
from dev.shell import run

DAYS = "825"
MASTERS = "/O=system:masters/CN="
CLIENTS = {
    "admin": f"{MASTERS}admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "coredns": f"{MASTERS}coredns",
    "provisioner": f"{MASTERS}provisioner",
    "apiserver-kubelet": f"{MASTERS}apiserver-kubelet",
    "front-proxy": "/CN=front-proxy-client",
}


def ensure(layout: Layout) -> None:
    """The authority, the service account key, the API server's and all clients' certificates, and the kubeconfigs."""
    layout.pki.mkdir(mode=0o700, parents=True, exist_ok=True)
    control_plane = layout.node(1)
    _authority(layout.pki)
    if not (layout.pki / "sa.pub").exists():
        key = run(["openssl", "genrsa", "2048"])
        (layout.pki / "sa.key").write_text(key)
        (layout.pki / "sa.pub").write_text(run(["openssl", "rsa", "-pubout"], text_in=key))
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    served = [*(f"DNS:{name}" for name in [*names, "localhost"]), f"IP:{control_plane.address}"]
    certificate(layout.pki, "apiserver", "/CN=kube-apiserver", [*served, "IP:127.0.0.1", f"IP:{API_SERVICE}"])
    for name, subject in CLIENTS.items():
        certificate(layout.pki, name, subject)
    for name in ("controller-manager", "scheduler", "proxy", "coredns", "provisioner"):
        write_kubeconfig(layout, name, layout.config / f"{name}.kubeconfig")
    write_kubeconfig(layout, "admin", layout.kubeconfig)


def ensure_node(layout: Layout, node: Node) -> None:
    """A node's certificate, for both directions, and its kubelet's kubeconfig."""
    subject = f"/O=system:nodes/CN=system:node:{node.name}"
    certificate(layout.pki, node.name, subject, [f"DNS:{node.name}", f"IP:{node.address}"])
    write_kubeconfig(layout, node.name, layout.config / f"{node.name}.kubeconfig")


def write_kubeconfig(layout: Layout, user: str, target: Path) -> None:
    files = {name: (layout.pki / name).read_bytes() for name in ("ca.crt", f"{user}.crt", f"{user}.key")}
    text = configs.kubeconfig(user, layout.node(1), files)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    if target.read_text() != text:
        target.write_text(text)


def _authority(pki: Path) -> None:
    if (pki / "ca.crt").exists():
        return
    extensions = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
    _sign(pki, "ca", "/CN=sdxl-operator-dev-cluster", extensions, authority=None)


def certificate(pki: Path, name: str, subject: str, alternative_names: list[str] | None = None) -> None:
    """One key and a certificate for it, unless they exist."""
    if (pki / f"{name}.crt").exists():
        return
    extensions = (
        "basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth,clientAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    if alternative_names:
        extensions += f"subjectAltName={','.join(alternative_names)}\n"
    _sign(pki, name, subject, extensions, authority="ca")


def _sign(pki: Path, name: str, subject: str, extensions: str, authority: str | None) -> None:
    with tempfile.TemporaryDirectory(dir=pki) as folder:
        work = Path(folder)
        key, request, made, wanted = (work / f"{name}.{end}" for end in ("key", "csr", "crt", "ext"))
        wanted.write_text(extensions)
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        run(["openssl", "req", *new_key, "-keyout", key, "-out", request, "-subj", subject])
        by = f"-CA {pki}/{authority}.crt -CAkey {pki}/{authority}.key" if authority else f"-signkey {key}"
        sign = f"{by} -days {DAYS} -extfile {wanted}".split()
        run(["openssl", "x509", "-req", "-in", request, *sign, "-out", made])
        key.rename(pki / key.name)
        made.rename(pki / made.name)  # last: its presence says that the pair is whole
