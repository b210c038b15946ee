"""Images of the test bed: Debian with systemd, sshd, sudo and Python, nothing that a role should install.

Made with mmdebstrap (as root, where it is installed), else from the registry's `debian:<n>`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "molecule" / "shared"
REPOSITORY = "webstack-test"
SUITES = {"debian12": "bookworm", "debian13": "trixie"}


class BedError(Exception):
    """Something the person at the keyboard can act on."""


def docker(*args: str, stdin: bytes | None = None, check: bool = True) -> str:
    """Run the Docker client; its words are the error's words."""
    done = subprocess.run(["docker", *args], input=stdin, capture_output=True, check=False)
    if check and done.returncode:
        raise BedError(f"docker {' '.join(args[:2])}: {done.stderr.decode().strip()}")
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]


def _recipe(name: str) -> tuple[list[str], Path, str]:
    packages = (HERE / "image" / "packages").read_text().split()
    finish = HERE / "image" / "finish.sh"
    digest = _digest(name, *packages, finish.read_text())
    return packages, finish, f"{REPOSITORY}:{name}-{digest}"


def _run_and_commit(base: str, script: str, tag: str) -> None:
    """Run a script in a container of `base` and keep the result (works with every engine, unlike `build`)."""
    name = f"webstack-build-{uuid.uuid4().hex[:8]}"
    try:
        docker("run", "--name", name, "--env", "DEBIAN_FRONTEND=noninteractive", base, "sh", "-euc", script)
        docker("commit", name, tag)
    finally:
        docker("rm", "--force", name, check=False)


def _mmdebstrap(suite: str, packages: Sequence[str], finish: Path, tag: str) -> None:
    make = subprocess.Popen(
        ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}",
         f"--customize-hook=chroot \"$1\" sh -eu < '{finish}'", suite, "-"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    load = subprocess.run(
        ["docker", "import", "-", tag],
        stdin=make.stdout, capture_output=True, check=False,
    )  # fmt: skip
    _, errors = make.communicate()
    if make.returncode:
        docker("rmi", "--force", tag, check=False)
        raise BedError(f"mmdebstrap {suite}: {errors.decode().strip()}")
    if load.returncode:
        raise BedError(f"docker import: {load.stderr.decode().strip()}")


def _from_registry(base: str, packages: Sequence[str], finish: Path, tag: str) -> None:
    install = f"apt-get update -q; apt-get install -yq --no-install-recommends {' '.join(packages)}\n"
    try:
        _run_and_commit(base, install + finish.read_text(), tag)
    except BedError as error:
        hint = "without an image registry, run `make setup` once as root on a Debian with mmdebstrap"
        raise BedError(f"{error}\n{hint}") from error


def ensure(name: str) -> str:
    """The image of this name, made when there is none of this recipe. Returns its tag."""
    if name not in SUITES:
        raise BedError(f"no image {name!r}; there are: {', '.join(SUITES)}")
    packages, finish, tag = _recipe(name)
    if not docker("images", "--quiet", tag):
        print(f"making the image {tag}", file=sys.stderr, flush=True)
        if shutil.which("mmdebstrap") and os.geteuid() == 0:
            _mmdebstrap(SUITES[name], packages, finish, tag)
        else:
            _from_registry(f"debian:{name.removeprefix('debian')}", packages, finish, tag)
        docker("tag", tag, f"{REPOSITORY}:{name}")
    return tag


def ensure_cache() -> str:
    """The image of the package cache: nginx on top of the newest test image."""
    base = ensure("debian13")
    tag = f"{REPOSITORY}:cache-{_digest(base)}"
    if not docker("images", "--quiet", tag):
        print(f"making the image {tag}", file=sys.stderr, flush=True)
        install = "apt-get update -q; apt-get install -yq --no-install-recommends nginx-light; apt-get clean"
        _run_and_commit(base, install, tag)
    return tag


def remove() -> None:
    """Remove every image of the test bed."""
    tags = docker("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split()
    if tags:
        docker("rmi", *tags, check=False)
