"""A site whose pages nginx keeps: a new release is seen at once, and so is the old one after a way back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from site_under_load import HOST, Site

KEPT = {"enabled": True, "seconds": 3600, "status_header": True}


@pytest.fixture(scope="module", autouse=True)
def keeping(site: Site) -> Iterator[None]:
    site.given["page_cache"] = KEPT
    site.say("first")
    run = site.play("site")
    assert run.rc == 0, run.end
    yield
    site.given.pop("page_cache")


def look(site: Site, **headers: str) -> tuple[str, str]:
    """What somebody who was never there before sees, and where it comes from."""
    (answer,) = site.server.browse({"url": f"https://{HOST}/", "headers": headers})
    assert answer["status"] == 200, answer
    return answer["headers"]["x-words"], answer["headers"]["x-cache"]


def test_a_release_is_seen_at_once_and_so_is_the_one_before(site: Site) -> None:
    assert look(site) == ("first", "MISS")
    assert look(site) == ("first", "HIT")
    assert look(site, Cookie="a=b") == ("first", "BYPASS")
    site.say("second")
    run = site.play("deploy", site="plain")
    assert run.rc == 0, run.end
    assert look(site) == ("second", "MISS")
    assert look(site) == ("second", "HIT")
    run = site.play("rollback", site="plain")
    assert run.rc == 0, run.end
    assert look(site)[0] == "first"
    run = site.play("deploy", site="plain")
    assert run.rc == 0, run.end
    assert look(site)[0] == "second"


def test_a_deployment_that_fails_takes_no_page_away(site: Site) -> None:
    assert look(site)[1] == "HIT"
    site.commit({"config/wsgi.py": "import not_to_be_had\n"})
    assert site.play("deploy", site="plain").rc != 0
    assert look(site) == ("second", "HIT")


def test_drift_of_the_link_is_put_back(site: Site) -> None:
    site.git("revert", "--no-edit", "HEAD")
    assert site.play("site").rc == 0
    assert site.play("site", "--check").changed == 0
    site.server.run("rm /srv/plain/served/now")
    assert site.play("site", "--check").changed == 1
    assert site.play("site").changed == 1
    assert site.server.run("readlink /srv/plain/served/now").strip() == site.serving()
    assert site.server.run("grep -c realpath /var/log/nginx/error.log", check=False).strip() == "0"
