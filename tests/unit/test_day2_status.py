# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of the playbook status: what it looks like, and what it finds wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils.day2 import status

NOW = 1_795_995_200.0  # 2026-11-29 23:33:20 UTC
RELEASE = {"id": "0123456789ab-1a2b3c4d", "commit": "0123456789abcdef", "since": NOW - 3 * 86400}


def row(process: str, **values: Any) -> dict[str, Any]:
    known = {"name": f"blog-{process}.service", "state": "running", "ok": True, "pid": 41, "since": NOW - 7200}
    return {"process": process, **known, "memory_mb": 80, "restarts": 0, **values}


def web1() -> dict[str, Any]:
    site = {
        "processes": [
            row("web"),
            row("night", state="waiting", pid=None, since=NOW - 60, memory_mb=None, restarts=None),
        ],
        "release": RELEASE,
        "previous": {**RELEASE, "id": "ba9876543210-00000000", "since": NOW - 10 * 86400},
        "health": {"ok": True, "path": "/", "status": 200, "ms": 12, "error": None},
        "size_mb": 2048,
        "last_deploy": {
            "time": "2026-11-26T23:33:20Z",
            "who": "ada@laptop",
            "what": "deploy",
            "from": None,
            "to": RELEASE["id"],
            "result": "ok",
            "seconds": 12.5,
            "step": None,
            "message": None,
        },
        "lock": None,
        "certificate": {"days": 340, "error": None, "own": True, "ending": False},
        "maintenance": False,
        "drained": [],
        "backup": None,
    }
    return {
        "now": NOW,
        "tiers": ["database", "cache", "app", "web"],
        "sites": {"blog": site},
        "host": {
            "ports": [
                {"port": 22, "programs": ["sshd"], "public": True},
                {"port": 443, "programs": ["nginx"], "public": True},
                {"port": 5432, "programs": ["postgres"], "public": False},
            ],
            "disks": [{"path": "/", "free_mb": 20480, "total_mb": 40960}],
            "services": [{"name": "nginx", "ok": True, "state": "active"}],
            "failed_units": [],
        },
    }


WELL = """\
blog
  web1
    release      0123456789ab-1a2b3c4d, commit 0123456789ab
    since        2026-11-26 23:33 UTC (3 days ago)
    before       ba9876543210-00000000, 2026-11-19 23:33 UTC (10 days ago)
    health       200 in 12 ms (GET /)
    size         2.0 GB
    last deploy  deploy ok, 2026-11-26 23:33 UTC (3 days ago), by ada@laptop, 12.5 s
    certificate  340 days left, self-signed
    last backup  none
    process  state    pid  since       memory  restarts
    web      running   41  2 hours      80 MB         0
    night    waiting    -  60 seconds       -         -

servers
  web1
    serves       database, cache, app, web
    disk         / 20.0 GB of 40.0 GB free
    ports        22 sshd, 443 nginx, local 5432 postgres
    servers      nginx
    failed units none

all well"""


def test_a_server_where_all_is_well() -> None:
    assert status.table({"web1": web1()}, ["blog"]) == WELL


def test_what_is_wrong_is_marked_and_repeated_at_the_end() -> None:
    found = web1()
    site = found["sites"]["blog"]
    site["processes"][0].update(state="stopped", ok=False, pid=None, memory_mb=None)
    site["certificate"] = {"days": 3, "error": None, "own": False, "ending": True}
    found["host"]["disks"][0]["free_mb"] = 500
    away = {"unreachable": True, "msg": "Failed to connect to the host via ssh:\nconnection refused"}
    text = status.table({"web1": found, "web2": away}, ["blog"])
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("!")] == [
        "!   certificate  3 days left",
        "!   web      stopped    -  2 hours          -         0",
        "!   disk         / 500 MB of 40.0 GB free",
        "!   unreachable  Failed to connect to the host via ssh: connection refused",
        "! web1: blog: certificate: 3 days left; its renewal fails (journalctl -t webstack-tls), or one that was provided has to be replaced",
        "! web1: blog: the process web is stopped",
        "! web1: disk / 500 MB of 40.0 GB free",
        "! web2: unreachable",
    ]
    assert lines[-1] == "4 things need attention"


WRONG: list[tuple[str, Any, str]] = [
    ("release", None, "web1: blog: no release serves; deploy it"),
    ("processes", [], "web1: blog: the process web is not set up"),
    (
        "health",
        {"ok": False, "path": "/up", "status": 503, "ms": 8, "error": None},
        "web1: blog: health: 503 in 8 ms",
    ),
    (
        "health",
        {"ok": False, "path": "/", "status": None, "ms": None, "error": "timed out"},
        "web1: blog: health: no answer: timed out",
    ),
    (
        "certificate",
        {"days": None, "error": "there is none", "own": False, "ending": True},
        "web1: blog: certificate: there is none; run the playbook webstack.django.site",
    ),
    (
        "certificate",
        {"days": -2, "error": None, "own": False, "ending": True},
        "web1: blog: certificate: ended 2 days ago; its renewal fails (journalctl -t webstack-tls), or one that was provided has to be replaced",
    ),
    (
        "certificate",
        {"days": 3, "error": None, "own": True, "ending": True},
        "web1: blog: certificate: 3 days left, self-signed; run the playbook webstack.django.site, which makes another one",
    ),
    ("maintenance", True, "web1: blog: maintenance is on: visitors get status 503"),
    (
        "drained",
        ["10.0.0.4:8001"],
        "web1: blog: 10.0.0.4:8001 gets no requests; it will with the next deployment, if none is under way",
    ),
    (
        "lock",
        {"who": "ada", "since": NOW - 7300, "step": "build"},
        "web1: blog: locked for a long time by a deployment",
    ),
    (
        "last_deploy",
        {"result": "failed", "what": "deploy", "time": NOW - 60, "who": "ada", "seconds": 3, "step": "migrate", "message": "no\nway"},
        "web1: blog: the last deployment: failed",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "problem"), WRONG)
def test_one_thing_that_needs_attention(key: str, value: Any, problem: str) -> None:
    found = web1()
    found["sites"]["blog"][key] = value
    lines = status.table({"web1": found}, ["blog"]).splitlines()
    assert lines[-2:] == [f"! {problem}", "1 thing needs attention"]


def test_a_deployment_under_way_is_no_problem() -> None:
    found = web1()
    found["sites"]["blog"]["lock"] = {"who": "ada", "since": "2026-11-29T23:32:20+00:00", "step": "build"}
    text = status.table({"web1": found}, ["blog"])
    assert "    lock         deployed just now by ada, step build, 2026-11-29 23:32 UTC (60 seconds ago)" in text
    assert text.endswith("all well")


def test_servers_with_different_releases() -> None:
    other = copy.deepcopy(web1())
    other["sites"]["blog"]["release"] = {**RELEASE, "id": "new"}
    text = status.table({"web1": web1(), "web2": other}, ["blog"])
    assert "! blog: the servers serve different releases: web1 0123456789ab-1a2b3c4d, web2 new" in text.splitlines()


def test_a_server_has_no_block_of_a_site_that_it_has_nothing_of() -> None:
    found = web1()
    found.update(tiers=["database"], sites={"blog": {"processes": [], "backup": None}})
    lines = status.table({"db1": found}, ["blog"]).splitlines()
    assert lines[:4] == ["blog", "", "servers", "  db1"]


def test_no_line_is_wider_than_a_terminal() -> None:
    found = web1()
    found["host"]["ports"] = [{"port": 1000 + n, "programs": ["a-program"], "public": True} for n in range(40)]
    found["host"]["failed_units"] = [f"unit-number-{n}.service" for n in range(5)]
    lines = status.table({"web1": found}, ["blog"]).splitlines()
    assert max(len(line) for line in lines if not line.startswith("! web1: ")) <= 100


def test_json() -> None:
    found = web1()
    found["sites"]["blog"]["maintenance"] = True
    got = json.loads(status.as_json({"web1": found, "web2": {"unreachable": True, "msg": "away"}}, ["blog"]))
    assert got["servers"]["web1"]["sites"]["blog"]["release"]["id"] == "0123456789ab-1a2b3c4d"
    assert got["servers"]["web2"] == {"unreachable": True, "message": "away"}
    assert got["attention"] == ["web1: blog: maintenance is on: visitors get status 503", "web2: unreachable"]
