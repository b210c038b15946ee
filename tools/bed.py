#!/usr/bin/env python3
"""Machines of the test bed: containers that look like a fresh VPS. Used by Molecule, the demo and benchmarks.

    bed.py setup                     images, network and package cache
    bed.py up demo --image debian13 --publish 8443:443    prints address, port, user and key as JSON
    bed.py ssh demo [command]        a shell on it
    bed.py down demo                 remove it (--scenario X: those of a Molecule scenario)
    bed.py rest                      stop the package cache when no machine is left
    bed.py clean                     remove everything, cached packages and images too
    bed.py create | destroy          the platforms of the Molecule scenario in the environment

Names are unique per checkout, so that two checkouts do not meet.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bed_cache
import bed_images
from bed_images import BedError, docker

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
PREFIX = f"webstack-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}"
LABEL = f"webstack.bed={PREFIX}"
USER = "deploy"
INIT = "/lib/systemd/systemd"
SSH_OPTIONS = "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR"
# What systemd needs as PID 1, on cgroup v1 hosts and v2, without --privileged.
RUN_OPTIONS = (
    "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined", "--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--stop-signal=SIGRTMIN+3", "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec",
)  # fmt: skip


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One at a time: scenarios that start together must not make the same image twice."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "bed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def setup(images: Sequence[str] = tuple(bed_images.SUITES)) -> str:
    """Make what machines need. Returns the certificate authority of the package cache."""
    with locked():
        with ThreadPoolExecutor() as pool:
            list(pool.map(bed_images.ensure, images))
        if not docker("network", "ls", "--quiet", "--filter", f"name=^{PREFIX}$"):
            docker("network", "create", "--label", LABEL, PREFIX)
        key = CACHE / "ssh" / "id_ed25519"
        if not key.exists():
            key.parent.mkdir(mode=0o700, exist_ok=True)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", PREFIX, "-f", key], check=True)
        return bed_cache.ensure(ROOT, PREFIX, PREFIX)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _container(name: str) -> str:
    return f"{PREFIX}-{name}"


def facts(name: str) -> dict[str, Any]:
    """How to reach a machine."""
    inspected = json.loads(docker("inspect", _container(name)))[0]
    return {
        "host": "127.0.0.1",
        "port": int(inspected["HostConfig"]["PortBindings"]["22/tcp"][0]["HostPort"]),
        "user": USER,
        "key": str(CACHE / "ssh" / "id_ed25519"),
        "address": inspected["NetworkSettings"]["Networks"][PREFIX]["IPAddress"],
        "container": _container(name),
    }


def ansible_variables(made: dict[str, Any]) -> dict[str, Any]:
    """How Ansible reaches a machine, from its facts."""
    return {
        "ansible_host": made["host"],
        "ansible_port": made["port"],
        "ansible_user": made["user"],
        "ansible_ssh_private_key_file": made["key"],
        "ansible_ssh_common_args": SSH_OPTIONS,
    }


def _boot(name: str) -> None:
    """Wait until systemd has started everything and the key opens the door."""
    container = _container(name)
    deadline = time.monotonic() + 90
    state = ""
    while time.monotonic() < deadline:
        state = subprocess.run(
            ["docker", "exec", container, "systemctl", "is-system-running", "--wait"],
            capture_output=True, text=True, check=False, timeout=90,
        ).stdout.strip()  # fmt: skip
        if state in {"running", "degraded"}:
            break
        if docker("inspect", "--format", "{{.State.Running}}", container) != "true":
            break
        time.sleep(0.2)
    if state != "running":
        failed = docker("exec", container, "systemctl", "--failed", "--plain", "--no-legend", check=False)
        logs = docker("logs", "--tail", "20", container, check=False)
        raise BedError(f"{name}: systemd is {state or 'not up'}\n{failed}\n{logs}")


def up(
    name: str, image: str, hostname: str | None = None, publish: Sequence[str] = (), scenario: str = "", tag: str = ""
) -> dict[str, Any]:
    """Start a machine and wait for it. A machine of this name that runs already is kept.

    ``tag`` is an image that was made of a machine of ``image``, and takes its place.
    """
    container = _container(name)
    state = docker("inspect", "--format", "{{.State.Running}}", container, check=False)
    if state == "true":
        return facts(name)
    if state:
        docker("start", container)
        _boot(name)
        return facts(name)
    authority = setup([image])
    tag = tag or bed_images.ensure(image)
    for attempt in range(5):
        ports = [
            f"--publish=127.0.0.1:{_free_port()}:22",
            *(f"--publish=127.0.0.1:{port}" for port in publish),
        ]
        try:
            docker(
                "create", f"--name={container}", f"--hostname={hostname or name}", f"--label={LABEL}",
                f"--label=webstack.scenario={scenario}", f"--network={PREFIX}", *ports, *RUN_OPTIONS, tag, INIT,
            )  # fmt: skip
            _files(container, tag, authority)
            docker("start", container)
            break
        except BedError as error:
            docker("rm", "--force", "--volumes", container, check=False)
            if "already allocated" not in str(error) or attempt == 4:
                raise
    _boot(name)
    docker("exec", container, "update-ca-certificates")
    return facts(name)


def _files(container: str, tag: str, authority: str) -> None:
    """The key of this checkout, and the authorities to trust."""
    key = (CACHE / "ssh" / "id_ed25519.pub").read_text()
    authorities = [authority, *bed_cache.extra_authorities(tag)]
    store = "/usr/local/share/ca-certificates/test-bed"
    bed_cache.copy_in(container, {f"{store}-{n}.crt": (pem, 0o644) for n, pem in enumerate(authorities)})
    bed_cache.copy_in(container, {"/root/.ssh/authorized_keys": (key, 0o600)})
    bed_cache.copy_in(container, {f"/home/{USER}/.ssh/authorized_keys": (key, 0o600)}, uid=1000)


def down(*filters: str, containers: Sequence[str] = ()) -> None:
    """Remove machines by name or by label."""
    found = docker("ps", "--all", "--quiet", *[f"--filter={text}" for text in filters]).split() if filters else []
    if found or containers:
        docker("rm", "--force", "--volumes", *found, *containers, check=False)


def down_scenario(name: str) -> None:
    """Remove the machines of a Molecule scenario."""
    down(f"label={LABEL}", f"label=webstack.scenario={name}")


def rest() -> bool:
    """Remove the package cache (its data stays) and the network when no machine uses them."""
    with locked():
        cache = f"{PREFIX}-cache"
        names = docker("ps", "--all", "--format", "{{.Names}}", f"--filter=label={LABEL}").split()
        if set(names) - {cache}:
            return False
        docker("rm", "--force", cache, check=False)
        docker("network", "rm", PREFIX, check=False)
        return True


def clean() -> None:
    """Remove everything that this checkout made with Docker."""
    down(f"label={LABEL}")
    rest()
    docker("volume", "rm", f"{PREFIX}-packages", check=False)
    bed_images.remove()


def create() -> None:
    """Start the platforms of a Molecule scenario and write the inventory that reaches them."""
    import yaml

    config = yaml.safe_load(Path(os.environ["MOLECULE_FILE"]).read_text())
    scenario = os.environ["MOLECULE_SCENARIO_NAME"]
    platforms = config["platforms"]
    setup(sorted({platform.get("image", platform["name"]) for platform in platforms}))

    def start(platform: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        name = platform["name"]
        made = up(f"{scenario}-{name}", platform.get("image", name), name, platform.get("publish", ()), scenario)
        return name, {
            **ansible_variables(made),
            "ansible_python_interpreter": "/usr/bin/python3",
            "bed_address": made["address"],
            "bed_container": made["container"],
        }

    with ThreadPoolExecutor() as pool:
        hosts = dict(pool.map(start, platforms))
    inventory = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory" / "bed.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))


def ssh(name: str, command: Sequence[str]) -> None:
    """Replace this process by a shell on the machine."""
    made = facts(name)
    options = [
        *(["-t"] if command and sys.stdin.isatty() else []),
        *shlex.split(SSH_OPTIONS),
        "-i",
        made["key"],
        "-p",
        str(made["port"]),
        f"{made['user']}@{made['host']}",
    ]
    os.execvp("ssh", ["ssh", *options, *command])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup")
    commands.add_parser("create")
    commands.add_parser("destroy")
    commands.add_parser("rest")
    commands.add_parser("clean")
    one = commands.add_parser("up")
    one.add_argument("name")
    one.add_argument("--image", default="debian13", choices=sorted(bed_images.SUITES))
    one.add_argument("--hostname")
    one.add_argument("--scenario", default="")
    one.add_argument("--publish", action="append", default=[], metavar="HOST:CONTAINER", help="on 127.0.0.1")
    gone = commands.add_parser("down")
    gone.add_argument("name", nargs="*")
    gone.add_argument("--scenario", action="append", default=[])
    shell = commands.add_parser("ssh")
    shell.add_argument("name")
    shell.add_argument("argument", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    try:
        if given.command == "setup":
            setup()
        elif given.command == "create":
            create()
        elif given.command == "destroy":
            down_scenario(os.environ["MOLECULE_SCENARIO_NAME"])
        elif given.command == "rest":
            rest()
        elif given.command == "clean":
            clean()
        elif given.command == "up":
            made = up(given.name, given.image, given.hostname, given.publish, given.scenario)
            print(json.dumps(made))
        elif given.command == "ssh":
            ssh(given.name, given.argument)
        else:
            down(containers=[_container(name) for name in given.name])
            for scenario in given.scenario:
                down_scenario(scenario)
    except BedError as error:
        sys.exit(f"bed: {error}")


if __name__ == "__main__":
    main()
