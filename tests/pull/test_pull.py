"""A server that looks at itself and converges itself with ansible-pull, from a repository that lies on it.

PULL_IMAGE=debian12 takes the older system, which has an older ansible-core.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import ansible
import pytest
import yaml
from servers import ROOT, VARIABLES, Run, Server, bed, command, play

NAME = "pull"
TREE = "collections/ansible_collections/webstack/django"
MADE_OF = ("plugins", "roles", "playbooks", "meta", "galaxy.yml")  # of the collection, what a run needs
# What the roles use of collections that a server would get from Galaxy.
GENERAL = Path(ansible.__file__).parents[1] / "ansible_collections/community/general"
OTHERS = {
    f"community/general/{name}": GENERAL / name
    for name in (
        "MANIFEST.json",
        "meta/runtime.yml",
        "plugins/filter/dict_kv.py",
        "plugins/filter/keep_keys.py",
        "plugins/plugin_utils/keys_filter.py",
    )
}
JOURNAL = "/etc/systemd/journald.conf.d/webstack.conf"
KEY = "/etc/webstack/pull/key"
PROM = "/var/lib/prometheus/node-exporter"
MASTER = VARIABLES["webstack_master_key"]


class Bed:
    """The server, its repository /srv/ops, and a controller."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pull: dict[str, Any] = {}
        key = server.directory / "deploy_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        self.key = key.read_text()
        self.settings(mode="check")

    def settings(self, mode: str) -> None:
        self.pull = {
            "repository": "file:///srv/ops",
            "inventory": "hosts.yml",
            "mode": mode,
            "calendar": "*-*-* 03:00",
            "deploy_key": self.key,
            "variables": {"webstack_master_key": "{{ lookup('webstack.django.master_key') }}"},
        }

    def inventory(self, **more: Any) -> dict[str, Any]:
        variables = {**VARIABLES, "django_sites": [], "firewall_bans": False, "os_pull": self.pull, **more}
        # Packages that are no matter of these tests.
        variables["os_hardening"] = {**variables["os_hardening"], "passwords": False, "denied_modules": []}
        hosts = {NAME: bed.ansible_variables(self.server.facts)}
        # No tier that sites need: the roles os, sshd and firewall are enough to see it.
        return {"all": {"hosts": hosts, "vars": variables, "children": {"monitoring": {"hosts": {NAME: {}}}}}}

    def commit(self) -> None:
        """The repository is the collection and the inventory, without the master key."""
        declared = self.inventory()
        del declared["all"]["vars"]["webstack_master_key"]
        data = BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as tar:
            for name, path in OTHERS.items():
                tar.add(path, f"collections/ansible_collections/{name}")
            for name in MADE_OF:
                tar.add(ROOT / name, f"{TREE}/{name}", filter=lambda one: None if "__pycache__" in one.name else one)
            text = yaml.safe_dump(declared).encode()
            info = tarfile.TarInfo("hosts.yml")
            info.size = len(text)
            tar.addfile(info, BytesIO(text))
        container = self.server.facts["container"]
        unpack = (
            "mkdir -p /srv/ops; cd /srv/ops; tar -xzo; git init -q 2>/dev/null; git add -A; "
            "git -c user.name=a -c user.email=a@example.com commit -qm change"
        )
        subprocess.run(["docker", "exec", "-i", container, "sh", "-c", unpack], input=data.getvalue(), check=True)

    def converge(self, **more: Any) -> Run:
        path = self.server.directory / "hosts.yml"
        path.write_text(yaml.safe_dump(self.inventory(**more)))
        return play(command("site", path))

    def later(self) -> None:
        """As eleven minutes later."""
        self.server.run(
            'python3 -c \'import json; p = "/run/webstack-converge.json"; n = json.load(open(p)); n["since"] -= 660; json.dump(n, open(p, "w"))\''
        )

    def cut(self) -> None:
        """The connection of the last run ends."""
        self.server.run(
            'kill $(python3 -c \'import json; print(json.load(open("/run/webstack-converge.json"))["pid"])\')'
        )

    def look(self) -> dict[str, Any]:
        """The server's own run, and what it leaves."""
        self.server.run(
            "systemctl start webstack-pull.service || { journalctl -u webstack-pull -n 60 -o cat; exit 1; }"
        )
        return dict(json.loads(self.server.run("cat /var/lib/webstack/pull.json")))

    def report(self) -> dict[str, Any]:
        return dict(json.loads(self.server.run("cat /var/lib/webstack/drift.json"))["hosts"][NAME])

    def metrics(self) -> dict[str, str]:
        text = self.server.run(f"cat {PROM}/*.prom")
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


@pytest.fixture(scope="module")
def server_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    server = Server(NAME, os.environ.get("PULL_IMAGE", "debian13"), "pull", tmp_path_factory.mktemp("pull"))
    server.up()
    made = Bed(server)
    try:
        run = made.converge()
        assert run.rc == 0, run.end
        made.commit()  # with the git that the role has installed
        yield made
    finally:
        server.down()


def test_while_a_controller_is_at_it_the_server_leaves_it_the_turn(server_bed: Bed) -> None:
    status = server_bed.look()
    assert status["result"] == "skipped"
    assert status["reason"].startswith("a run by deploy is at it since ")
    assert server_bed.metrics()["webstack_pull_last_run_skipped"] == "1"
    assert "webstack_drift_check" not in server_bed.metrics()
    assert "skipped: a run by deploy" in server_bed.server.run("journalctl -u webstack-pull -o cat")
    server_bed.later()
    assert server_bed.look()["result"] == "skipped"  # Ansible keeps its connection open for a while
    server_bed.cut()  # and this, before its time, is the next test's affair


def test_secrets_are_those_of_root(server_bed: Bed) -> None:
    modes = server_bed.server.run("stat -c '%a %U %n' /etc/webstack/pull /etc/webstack/pull/*").splitlines()
    assert {line.split()[0] for line in modes[1:]} == {"600"} and modes[0].startswith("700 ")
    assert "/etc/webstack/pull/variables.json" in " ".join(modes)
    seen = (
        "/usr/local/lib/webstack /etc/systemd/system /var/lib/webstack/pull/repository /etc/webstack/pull/settings.json"
    )
    assert server_bed.server.run(f"grep -rl {MASTER} {seen} || true") == ""


def test_it_names_what_differs_and_puts_nothing_right(server_bed: Bed) -> None:
    server_bed.server.run(f"echo 'Storage=none' >>{JOURNAL}; chmod 0644 {KEY}; systemctl stop webstack-pull.timer")
    began = time.monotonic()
    status = server_bed.look()
    print(f"a check of the server by itself: {time.monotonic() - began:.1f} s")
    assert (status["result"], status["reason"]) == ("ok", "4 things differ")
    report = server_bed.report()
    assert report["state"] == "drift"
    things = {entry["thing"]: (entry["expected"], entry["found"]) for entry in report["drift"]}
    assert set(things) == {JOURNAL, KEY, "systemd-journald.service", "webstack-pull.timer"}
    assert "Storage=none" in things[JOURNAL][1]
    metrics = server_bed.metrics()
    assert metrics['webstack_drift_things{host="pull",role="os"}'] == "4"
    assert metrics['webstack_drift_things{host="pull",role="sshd"}'] == "0"
    assert metrics["webstack_drift_last_run_exit_code"] == "2"
    assert metrics["webstack_pull_last_run_success"] == "1" and metrics["webstack_pull_last_run_skipped"] == "0"
    assert "Storage=none" in server_bed.server.run(f"cat {JOURNAL}")
    journal = server_bed.server.run("journalctl -u webstack-pull -o cat")
    assert JOURNAL in journal and MASTER not in journal and "PRIVATE KEY" not in journal


def test_a_controller_waits_until_the_server_has_ended_converging_itself(server_bed: Bed) -> None:
    server_bed.settings(mode="converge")
    server_bed.commit()
    hold = (
        "import sys,time; sys.path.insert(0, '/usr/local/lib/webstack'); import turns\n"
        "with turns.own_turn() as begin: begin(); print(flush=True); time.sleep(8)"
    )
    container = server_bed.server.facts["container"]
    with subprocess.Popen(["docker", "exec", container, "python3", "-c", hold], stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline()
        began = time.monotonic()
        run = server_bed.converge()
        assert run.rc == 0, run.end
        assert time.monotonic() - began > 8
    assert "Storage=none" not in server_bed.server.run(f"cat {JOURNAL}")
    assert server_bed.server.run(f"stat -c %a {KEY}").strip() == "600"
    assert server_bed.server.run("systemctl is-active webstack-pull.timer").strip() == "active"


def test_it_puts_right_what_differs(server_bed: Bed) -> None:
    server_bed.later()
    server_bed.cut()
    server_bed.server.run(
        f"echo 'Storage=none' >>{JOURNAL}; sed -i 's/^MaxAuthTries.*/MaxAuthTries 99/' /etc/ssh/sshd_config.d/00-webstack.conf"
    )
    began = time.monotonic()
    status = server_bed.look()
    print(f"a converge of the server by itself: {time.monotonic() - began:.1f} s")
    assert (status["result"], status["reason"], status["mode"]) == ("ok", "3 things put right", "converge")
    assert "Storage=none" not in server_bed.server.run(f"cat {JOURNAL}")
    assert "maxauthtries 99" not in server_bed.server.run("sshd -T")
    # It has left no note for itself to skip the next time.
    assert server_bed.server.run("find /run/webstack-converge.json -newer /run/webstack-pull.lock") == ""
    metrics = server_bed.metrics()
    assert metrics["webstack_drift_check"] == "0" and metrics["webstack_drift_last_run_exit_code"] == "0"
    assert metrics['webstack_drift_things{host="pull",role="sshd"}'] == "1"


def test_after_it_a_controller_has_nothing_to_do(server_bed: Bed) -> None:
    """What it has done is what a controller would have done, and of it there is nothing that differs between the two."""
    run = server_bed.converge()
    assert run.rc == 0 and run.changed == 0, run.end


def test_nothing_of_it_stays_when_it_is_not_wanted(server_bed: Bed) -> None:
    run = server_bed.converge(os_pull={})
    assert run.rc == 0, run.end
    left = "/etc/webstack/pull /var/lib/webstack/pull* /opt/webstack/ansible* /etc/systemd/system/*webstack-pull* /var/lib/webstack/drift.json"
    assert (
        server_bed.server.run(f"ls -d {left} /etc/systemd/system/*/webstack-pull* {PROM}/*.prom 2>/dev/null || true")
        == ""
    )
    assert "webstack-pull" not in server_bed.server.run(
        "systemctl list-units --all --plain --no-legend; systemctl --failed --no-legend"
    )
