"""Three application servers behind one web server: a new release comes to one after the other, and a bad one to none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, project
from site_under_load import Site

APPS = ["app1", "app2", "app3"]
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


def test_a_release_comes_to_one_server_after_the_other(site: Site) -> None:
    (before,) = set(serving(site))
    site.say("rolling")
    with site.load():
        run = site.play("deploy", site="plain")
        assert run.rc == 0, run.end
    (after,) = set(serving(site))
    assert site.seen["failed"] == 0, site.seen
    assert set(site.seen["releases"]) == {before, after}
    switched = re.findall(r"(?:changed|ok): \[(app\d)\]", run.output.partition("Switch, one server")[2])
    assert list(dict.fromkeys(switched)) == APPS
    run = site.play("site")  # as the roles would have it
    assert (run.rc, run.changed) == (0, 0), run.end


def test_servers_are_drained_where_that_is_wanted(site: Site) -> None:
    site.say("drained")
    run = site.play("deploy", site="plain", drain=True)
    assert run.rc == 0, run.end
    assert run.output.count("=> (item=plain on front)") == 6, run.end
    assert len(set(serving(site))) == 1
    assert " down;" not in site.server.run("cat /etc/nginx/webstack.d/plain.conf")
    run = site.play("site")
    assert (run.rc, run.changed) == (0, 0), run.end


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
