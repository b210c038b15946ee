"""The package cache of the test bed: one nginx that answers for the package registries inside its network.

Containers of the bed reach apt and PyPI under their real names, so nothing about the cache
is configured in them, and without the cache the same names lead to the registries.
"""

from __future__ import annotations

import datetime
import io
import os
import re
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import bed_images
from bed_images import BedError, docker
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def copy_in(container: str, files: Mapping[str, tuple[str, int]], uid: int = 0) -> None:
    """Put files (path: content and mode) into a container that need not run yet."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path, (content, mode) in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(content.encode()), mode, uid, uid
            tar.addfile(entry, io.BytesIO(content.encode()))
    docker("cp", "-", f"{container}:/", stdin=stream.getvalue())


@cache
def image_file(image: str, path: str) -> str:
    return docker("run", "--rm", "--entrypoint", "cat", image, path)


def controller_bundle() -> str | None:
    """The certificate authorities that this machine was told to trust, if it was told."""
    for variable in ("SSL_CERT_FILE", "PIP_CERT"):
        path = os.environ.get(variable)
        if path and Path(path).is_file():
            return Path(path).read_text()
    return None


def extra_authorities(image: str) -> list[str]:
    """What the controller trusts and a fresh Debian does not: a company's own authority."""
    bundle = controller_bundle()
    if bundle is None:
        return []
    known = set(PEM.findall(image_file(image, "/etc/ssl/certs/ca-certificates.crt")))
    return [pem for pem in PEM.findall(bundle) if pem not in known]


def _registries(root: Path, image: str) -> list[str]:
    """Host names of the package registries in use, read from what already names them."""
    lock = (root / "uv.lock").read_text()
    urls = [*re.findall(r'registry = "([^"]+)"', lock)[:1], *re.findall(r'\burl = "([^"]+)"', lock)[:1]]
    apt = docker(
        "run",
        "--rm",
        "--entrypoint",
        "sh",
        image,
        "-c",
        "cat /etc/apt/sources.list* /etc/apt/sources.list.d/* || true",
    )
    urls += re.findall(r"\bhttp://\S+", apt)
    return sorted({url.split("/")[2] for url in urls})


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


def authority(directory: Path, names: list[str]) -> tuple[str, str, str]:
    """The bed's own certificate authority and a certificate for `names`: (authority, certificate, key)."""
    files = [directory / name for name in ("authority.pem", "cache.pem", "cache.key", "names")]
    if not (all(path.exists() for path in files) and files[3].read_text().split() == names):
        ca_key, key = _new_key(), _new_key()
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "webstack test bed")])
        now = datetime.datetime.now(datetime.timezone.utc)

        def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey, ca: bool) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=3650))
                .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            )  # fmt: skip

        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        ca_cert = builder(ca_name, ca_key.public_key(), True).add_extension(usage, True).sign(ca_key, hashes.SHA256())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "package cache")])
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        cert = (
            builder(subject, key.public_key(), False).add_extension(alternatives, False).sign(ca_key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in zip(
            files,
            (
                ca_cert.public_bytes(pem).decode(),
                cert.public_bytes(pem).decode(),
                _key_pem(key),
                "\n".join(names),
            ),
            strict=True,
        ):
            path.touch(mode=0o600)
            path.write_text(text)
    return files[0].read_text(), files[1].read_text(), files[2].read_text()


def ensure(root: Path, prefix: str, network: str) -> str:
    """Start the cache when it is not running. Returns its certificate authority."""
    name = f"{prefix}-cache"
    image = bed_images.ensure_cache()
    state = docker("inspect", "--format", "{{.State.Running}} {{.Config.Image}}", name, check=False)
    ca_file = root / ".cache" / "ca" / "authority.pem"
    if state == f"true {image}" and ca_file.exists():
        return ca_file.read_text()
    docker("rm", "--force", name, check=False)
    registries = _registries(root, image)
    ca, certificate, key = authority(ca_file.parent, registries)
    # The bed's network would resolve the names back to the cache; the default one gives the real servers.
    resolvers = re.findall(
        r"^nameserver (\S+)", docker("run", "--rm", "--entrypoint", "cat", image, "/etc/resolv.conf"), re.M
    )
    if not resolvers:
        raise BedError("containers have no name server; see /etc/resolv.conf of this machine")
    aliases = [f"--network-alias={registry}" for registry in registries]
    docker(
        "create", "--name", name, "--label", f"webstack.bed={prefix}", "--restart", "unless-stopped",
        "--network", network, *aliases, "--volume", f"{prefix}-packages:/var/cache/packages", image,
        "nginx", "-c", "/etc/nginx/cache.conf",
    )  # fmt: skip
    config = (bed_images.HERE / "image" / "cache.conf").read_text()
    resolver = " ".join(f"[{address}]" if ":" in address else address for address in resolvers)
    upstream = controller_bundle() or image_file(image, "/etc/ssl/certs/ca-certificates.crt")
    copy_in(
        name,
        {
            "/etc/nginx/cache.conf": (config.replace("@RESOLVERS@", resolver), 0o644),
            "/etc/nginx/cache.pem": (certificate, 0o644),
            "/etc/nginx/cache.key": (key, 0o600),
            "/etc/nginx/upstream.pem": (upstream, 0o644),
        },
    )
    docker("start", name)
    return ca
