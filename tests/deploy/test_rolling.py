"""Three application servers behind one web server: a new release comes to one after the other, and a bad one to none."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from servers import Server, project
from site_under_load import HOST, SAYING, Site

APPS = ["app1", "app2", "app3"]
# Tells the journal when a visitor sent a request and when it came (who is none: the questions of the deployment itself).
TELLING = """

import sys, time

_telling = index


def index(request):
    if "httpx" in request.headers.get("User-Agent", ""):
        print(f"asked {request.headers['X-Sent']} {time.time()}", file=sys.stderr, flush=True)
    return _telling(request)
"""
# Writes down on the web server when a server was first and last seen to be drained.
WATCH = """
import os, time
before, last = set(), 0
while True:
    now = time.time()
    try:
        there = {name for name in os.listdir("/run/webstack-drained") if name.startswith("plain:")}
    except FileNotFoundError:
        there = set()
    for name in there ^ before:
        print(time.time() if name in there else last, int(name[6:]), int(name in there), flush=True)
    before, last = there, now
    time.sleep(0.005)
"""
GROUPS = {"database": ["front"], "cache": ["front"], "web": ["front"], "app": APPS}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("rolling")
    images = {"front": "debian13", "app1": "debian13", "app2": "debian12", "app3": "debian13"}
    servers = [Server(name, image, "rolling", directory) for name, image in images.items()]
    try:
        for one in servers:
            one.up()
        found = Site(servers, Path(project(directory / "projects", "plain")), GROUPS)
        found.given["release_header"] = True
        run = found.play("site")
        assert run.rc == 0, run.end
        yield found
    finally:
        for one in servers:
            one.down()


def serving(site: Site) -> list[str]:
    """The release that each application server has."""
    return [one.run("readlink /srv/plain/current").strip().removeprefix("releases/") for one in site.servers[1:]]


@contextmanager
def watched(site: Site) -> Iterator[dict[str, list[tuple[float, float]]]]:
    """When each application server was drained."""
    site.server.run(
        f"systemd-run --unit=watch -p StandardOutput=truncate:/run/watch python3 -u -c {shlex.quote(WATCH)}"
    )
    found: dict[str, list[tuple[float, float]]] = {}
    try:
        yield found
    finally:
        site.server.run("systemctl stop watch")
    vhost = site.server.run("cat /etc/nginx/webstack.d/plain.conf")
    upstream = vhost.partition("upstream webstack_plain {")[2].partition("}")[0]
    addresses = re.findall(r"^    server (\S+):\d+ ", upstream, re.MULTILINE)
    names = {str(one.facts["address"]): name for one, name in zip(site.servers[1:], APPS)}
    began: dict[str, float] = {}
    for line in site.server.run("cat /run/watch").splitlines():
        moment, number, there = line.split()
        name = names[addresses[int(number) - 1]]
        if there == "1":
            began[name] = float(moment)
        else:
            found.setdefault(name, []).append((began.pop(name), float(moment)))
    assert not began


def asked(site: Site, name: str) -> list[tuple[float, float]]:
    """When visitors sent the requests that this application server got, and when it got them."""
    lines = site.servers[1 + APPS.index(name)].run("journalctl -u plain-web -o cat --since=-10min")
    return [(float(sent), float(got)) for sent, got in re.findall(r"asked (\d+\.\d+) (\d+\.\d+)", lines)]


def test_a_release_comes_to_one_server_after_the_other(site: Site) -> None:
    site.commit({"notes/views.py": site.original + SAYING.format(words="first") + TELLING})
    assert site.play("deploy", site="plain").rc == 0
    (before,) = set(serving(site))
    site.commit({"notes/views.py": site.original + SAYING.format(words="rolling") + TELLING})
    with watched(site) as drained, site.load():
        run = site.play("deploy", site="plain")
        assert run.rc == 0, run.end
        time.sleep(2)  # the last server is in again, and a run may end before anybody has asked it
    (after,) = set(serving(site))
    assert site.seen["failed"] == 0, site.seen
    assert set(site.seen["releases"]) == {before, after}
    switched = re.findall(r"(?:changed|ok): \[(app\d)\]", run.output.partition("Switch, one server")[2])
    assert list(dict.fromkeys(switched)) == APPS
    # Each of them was drained once, and one after the other; nobody asked it then.
    times = [drained[name] for name in APPS]
    assert [len(one) for one in times] == [1, 1, 1]
    assert times == sorted(times)
    assert all(first[0][1] < second[0][0] for first, second in pairwise(times))
    for name, ((start, end),) in zip(APPS, times):
        moments = asked(site, name)
        assert [(sent, got) for sent, got in moments if start < sent and got < end] == []
        assert end - start > 0.4
        told = (name, times, moments[:3], moments[-3:], time.time())
        assert min(got for _sent, got in moments) < start, told
        assert max(sent for sent, _got in moments) > end, told
    run = site.play("site")  # as the roles would have it
    assert (run.rc, run.changed) == (0, 0), run.end


def test_two_at_a_time(site: Site) -> None:
    """And what a killed run left drained gets requests again."""
    site.say("two")
    site.server.run("mkdir /run/webstack-drained && touch /run/webstack-drained/plain:3")
    with watched(site) as drained, site.load():
        run = site.play("deploy", site="plain", serial=2)
        assert run.rc == 0, run.end
    assert site.seen["failed"] == 0, site.seen
    assert len(set(serving(site))) == 1
    ((first, _end),), ((second, end),) = drained["app1"], drained["app2"]
    assert [len(drained[name]) for name in APPS] == [1, 1, 2]
    assert abs(first - second) < end - second
    assert drained["app3"][0][1] < drained["app3"][1][0]
    assert drained["app3"][1][0] > end
    run = site.play("site")
    assert (run.rc, run.changed) == (0, 0), run.end


@pytest.mark.parametrize("choices", [{"drain": False}, {"serial": 3}], ids=["drain", "serial"])
def test_requests_wait_where_nothing_is_drained(site: Site, choices: dict[str, Any]) -> None:
    site.say(f"waiting {len(choices)} {list(choices)}")
    with watched(site) as drained, site.load():
        run = site.play("deploy", site="plain", **choices)
        assert run.rc == 0, run.end
    assert site.seen["failed"] == 0, site.seen
    assert drained == {}
    assert len(set(serving(site))) == 1


def test_a_bad_release_ends_at_the_first_server(site: Site) -> None:
    """It passes its trial, and fails where it serves."""
    good, before = site.git("rev-parse", "HEAD"), serving(site)
    # systemd gives the one, and a trial the other.
    condition = "'INVOCATION_ID' in os.environ and 'WEBSTACK_RELEASE_FILE' not in os.environ"
    broken = f"import os\n\nif {condition}:\n    raise SystemExit(3)\n"
    wsgi = (site.code / "config/wsgi.py").read_text()
    site.commit({"config/wsgi.py": broken + wsgi})
    with site.load():
        run = site.play("deploy", site="plain")
    site.git("reset", "--quiet", "--hard", good)
    assert run.rc != 0, run.end
    assert "serves again" in run.output, run.end
    assert not re.search(r"(?:changed|ok|fatal): \[app[23]\]", run.output.partition("Switch, one server")[2])
    assert serving(site) == before
    assert site.seen["failed"] == 0, site.seen
    for one in site.servers[1:]:
        assert one.run("ls /run/webstack-deploy-plain.json 2>/dev/null || true") == ""
    assert site.server.run("ls /run/webstack-drained 2>/dev/null || true") == ""
    run = site.play("site")  # tidies up what is beyond the number to keep
    assert run.rc == 0, run.end
    assert serving(site) == before


def test_all_of_them_go_back(site: Site) -> None:
    before = serving(site)
    with site.load():
        run = site.play("rollback", site="plain")
    assert run.rc == 0, run.end
    assert len(set(serving(site))) == 1
    assert serving(site) != before
    assert site.seen["failed"] == 0, site.seen


def test_kept_pages_are_those_of_the_release_that_all_servers_have(site: Site) -> None:
    def look() -> tuple[str, str]:
        (answer,) = site.server.browse({"url": f"https://{HOST}/"})
        assert answer["status"] == 200, answer
        return answer["headers"]["x-words"], answer["headers"]["x-cache"]

    site.given["page_cache"] = {"enabled": True, "seconds": 3600, "status_header": True}
    site.say("kept first")
    run = site.play("site")
    assert run.rc == 0, run.end
    assert [look(), look()] == [("kept first", "MISS"), ("kept first", "HIT")]
    site.say("kept second")
    with site.load():
        run = site.play("deploy", site="plain")
    assert run.rc == 0, run.end
    assert site.seen["failed"] == 0, site.seen
    assert look()[0] == "kept second"
    assert look() == ("kept second", "HIT")
    run = site.play("rollback", site="plain")
    assert run.rc == 0, run.end
    assert look()[0] == "kept first"
    run = site.play("deploy", site="plain")
    assert run.rc == 0, run.end
    assert look()[0] == "kept second"
    run = site.play("site")
    assert (run.rc, run.changed) == (0, 0), run.end
