"""Sites on combinations of web, application and process server, database and cache."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from cells import ALTERNATIVES, PROGRAMS
from servers import Server

LOGIN = "/admin/login/?next=/admin/"
USER = {"username": "admin", "password": "correct-horse-9"}
TASKS = 60  # of a converge of one combination that changes nothing, at most
EXPOSURE = 2.5  # systemd-analyze security, of every unit that we write or add to
SERVED_BY = {"nginx": "nginx", "apache": "Apache"}


def test_first_converge(server: Server, sites: list[dict[str, Any]], note: dict[str, Any]) -> None:
    started = time.monotonic()
    run = server.converge(sites)
    note["first"] = time.monotonic() - started
    assert run.rc == 0, run.end


def tasks(output: str, site: dict[str, Any]) -> int:
    """How many tasks a run looked at, without those of roles that only other sites of the server chose."""
    roles = re.findall(r"^(?:TASK|RUNNING HANDLER) \[(?:webstack\.django\.(\w+) : )?", output, re.MULTILINE)
    others = {one for key, names in ALTERNATIVES.items() for one in names if one != site[key]}
    return sum(role not in others for role in roles)


def test_second_converge_changes_nothing(server: Server, sites: list[dict[str, Any]], note: dict[str, Any]) -> None:
    started = time.monotonic()
    run = server.converge(sites)
    note.update(again=time.monotonic() - started, tasks=run.tasks)
    assert (run.rc, run.changed) == (0, 0), run.end
    assert run.tasks <= TASKS or len(sites) > 1
    for site in sites:
        assert 30 < tasks(run.output, site) <= TASKS


def test_check_predicts_nothing(server: Server, sites: list[dict[str, Any]]) -> None:
    run = server.converge(sites, "--check", "--diff")
    assert (run.rc, run.changed) == (0, 0), run.end


def test_page_static_file_and_session(server: Server, sites: list[dict[str, Any]]) -> None:
    for site in sites:
        url = f"https://{site['domains'][0]}"
        page, first, second = server.browse({"url": f"{url}/"}, {"url": f"{url}/visits/"}, {"url": f"{url}/visits/"})
        assert page["status"] == 200, page
        assert "the first note, from a migration" in page["body"]
        assert page["headers"]["strict-transport-security"].startswith("max-age=31536000")
        assert [json.loads(one["body"]) for one in (first, second)] == [
            {"visits": 1, "secure": True},
            {"visits": 2, "secure": True},
        ]
        href = re.search(r'href="(/static/notes/style\.[0-9a-f]{12}\.css)"', page["body"])
        assert href, page["body"]
        (style,) = server.browse({"url": url + href.group(1)})
        assert style["headers"]["cache-control"] == "max-age=31536000, public, immutable"
        assert "rebeccapurple" in style["body"]
        assert style["headers"]["server"] == SERVED_BY[site["web_server"]]


def test_a_row_and_a_log_in_survive_a_restart_of_the_server(server: Server, sites: list[dict[str, Any]]) -> None:
    for site in sites:
        server.run(
            f"DJANGO_SUPERUSER_PASSWORD=correct-horse-9 webstack-manage {site['name']} createsuperuser --noinput "
            "--username admin --email admin@example.com"
        )
        url = f"https://{site['domains'][0]}"
        _form, inside, _empty, added = server.browse(
            {"url": url + LOGIN},
            {"url": url + LOGIN, "form": USER},
            {"url": f"{url}/admin/notes/note/add/"},
            {
                "url": f"{url}/admin/notes/note/add/",
                "form": {"text": f"écrit avant le redémarrage de {site['name']} 🦎"},
            },
        )
        assert "Site administration" in inside["body"]
        assert added["status"] == 200
    server.restart()
    for site in sites:
        url = f"https://{site['domains'][0]}"
        page = server.wait(f"{url}/")
        assert f"écrit avant le redémarrage de {site['name']} 🦎" in page["body"]
        assert page["body"].count("écrit avant") == 1  # and no row of another site
        assert (
            "Site administration" in server.browse({"url": url + LOGIN}, {"url": url + LOGIN, "form": USER})[1]["body"]
        )
    assert server.run("systemctl --failed --plain --no-legend") == ""


def test_units_are_sandboxed(server: Server, note: dict[str, Any]) -> None:
    ours = server.run(
        "grep -lsr webstack.django. /etc/systemd/system --include=*.service --include=*.conf | sort -u"
    ).split()
    units = set()
    for path in ours:
        name = path.removeprefix("/etc/systemd/system/").split("/")[0].removesuffix(".d")
        if name.endswith("@.service"):
            running = server.run(
                f"systemctl list-units --plain --no-legend '{name.replace('@', '@*')}' | cut -d' ' -f1"
            )
            units.update(running.split())
        elif name.endswith(".service"):
            units.add(name)
    shown = server.run(f"systemd-analyze security --no-pager {' '.join(sorted(units))} | grep 'Overall exposure'")
    scores = dict(re.findall(r"exposure level for (\S+): ([\d.]+)", shown))
    assert units <= set(scores)
    assert {unit: score for unit, score in scores.items() if float(score) > EXPOSURE} == {}
    listed = server.run(
        f"dpkg-query -W -f '${{Package}} ${{Version}}\\n' {' '.join(PROGRAMS)} 2>/dev/null", check=False
    )
    note["versions"] = dict(
        line.split(" ", 1) for line in listed.splitlines() if line.count(" ") and line.split(" ", 1)[1]
    )
