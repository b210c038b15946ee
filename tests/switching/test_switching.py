"""A converged server whose site chooses another web server, application server, process manager, cache or a pooler, under light load."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from servers import ROOT, Run, Server, project

HOST = "plain.example.com"
URL = f"https://{HOST}"
BASE = {
    "web_server": "nginx",
    "app_server": "gunicorn",
    "process_manager": "systemd",
    "cache": "redis",
    "database": "postgresql",
}
OTHER = {"web_server": "apache", "app_server": "uwsgi", "process_manager": "supervisord", "cache": "memcached"}
POOLED = {"pooler": "pgbouncer"}
# One after another, and then back at once.
SWITCHES: list[dict[str, Any]] = [*({key: value} for key, value in OTHER.items()), {"database": POOLED}, BASE]
FEW_SECONDS = 20.0  # on a machine that does other things beside; docs/switching.md has what was measured
# The name of each part's processes, its units, and the header in its files.
LEFT = {
    "nginx": ("nginx", "nginx.service", "nginx"),
    "apache": ("apache2", "apache2.service", "apache"),
    "gunicorn": ("gunicorn", None, "gunicorn"),
    "uwsgi": ("uwsgi", None, "uwsgi"),
    "systemd": (None, "plain-web.service plain-web.socket", "systemd"),
    "supervisord": ("supervisord", "supervisor.service", "supervisord"),
    "redis": ("redis-server", "redis-server@plain-cache.service", "redis"),
    "memcached": ("memcached", "memcached@plain-cache.service", "memcached"),
    "pgbouncer": ("pgbouncer", "pgbouncer.service pgbouncer.socket", "pgbouncer"),
}


class Machine:
    """The server, the site as it is chosen by now, and what the visitor saw of the last switch."""

    def __init__(self, server: Server, path: str) -> None:
        self.server = server
        self.site: dict[str, Any] = {"name": "plain", "domains": [HOST], "path": path, **BASE}
        self.seen: dict[str, Any] = {}

    def converge(self, *words: str, **choices: Any) -> Run:
        self.site.update(choices)
        return self.server.converge([self.site], *words)

    def converge_under_load(self, **choices: Any) -> Run:
        visitor = (ROOT / "tests/switching/visitor.py").read_text()
        self.server.run("cat > /run/visitor.py", visitor)
        argv = ["docker", "exec", "-i", self.server.facts["container"], "python3", "/run/visitor.py", HOST, "/"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            run = self.converge(**choices)
            output, _error = process.communicate(timeout=60)
        self.seen = json.loads(output)
        return run


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("switching")
    server = Server("switching", "debian13", "switching", directory)
    server.up()
    try:
        found = Machine(server, project(directory / "projects", "plain"))
        run = found.converge()
        assert run.rc == 0, run.end
        yield found
    finally:
        server.down()


def visits(server: Server, cookie: str = "") -> tuple[int, str]:
    """How often this visitor was here, and the cookie that says who it is."""
    (answer,) = server.browse({"url": f"{URL}/visits/", "headers": {"Cookie": cookie} if cookie else {}})
    assert answer["status"] == 200, answer
    return json.loads(answer["body"])["visits"], answer["headers"].get("set-cookie", cookie).split(";")[0]


def part(choice: Any) -> str:
    """What was chosen, by its name."""
    return str(choice["pooler"] if isinstance(choice, dict) else choice)


def pooled_clients(server: Server) -> bool:
    """Whether the site's processes are clients of the pooler, and a command is PostgreSQL's own."""
    ask = "from django.db import connection as c; print(c.settings_dict['HOST'])"
    assert server.run(f'webstack-manage plain shell -c "{ask}" | tail -n 1') == "/run/postgresql\n"
    console = "runuser -u pgbouncer -- psql -XAtq -h /run/pgbouncer -p 6432 pgbouncer -c 'SHOW CLIENTS' | grep -c '|plain|plain|'"
    return int(server.run(f"cd /; {console} || true").strip() or 0) > 0


@pytest.mark.parametrize("choices", SWITCHES, ids=["-".join(map(part, one.values())) for one in SWITCHES])
def test_switch(machine: Machine, choices: dict[str, Any], record_property: Any) -> None:
    server = machine.server
    before = {key: machine.site[key] for key, value in choices.items() if machine.site[key] != value}
    count, cookie = visits(server)
    run = machine.converge_under_load(**choices)
    assert run.rc == 0, run.end
    record_property("seen", json.dumps(machine.seen))
    print(f"{' '.join(map(part, choices.values()))}: {machine.seen}")
    assert machine.seen["requests"] > 20
    assert machine.seen["longest"] < FEW_SECONDS, machine.seen
    again, _cookie = visits(server, cookie)
    assert again == count + 1  # the session is still there
    for one in before.values():
        assert one == "postgresql" or leftovers(server, part(one)) == []
    assert pooled_clients(server) == (machine.site["database"] == POOLED)
    run = machine.converge()
    assert (run.rc, run.changed) == (0, 0), run.end
    assert server.run("systemctl --failed --plain --no-legend") == ""


def test_what_was_chosen_last_comes_back_after_a_restart(machine: Machine) -> None:
    server = machine.server
    server.restart()
    assert "the first note, from a migration" in server.wait(f"{URL}/")["body"]


def leftovers(server: Server, part: str) -> list[str]:
    """What is there of a part that nobody chose any more."""
    program, units, header = LEFT[part]
    found = []
    if program:
        found += server.run(f"pgrep -a -x {program} || true").splitlines()
    for unit in (units or "").split():
        active = server.run(f"systemctl is-active {unit} || true").strip()
        enabled = server.run(f"systemctl is-enabled {unit} 2>/dev/null || true").strip()
        found += [f"{unit} is {active}"] if active not in ("inactive", "unknown") else []
        found += [f"{unit} is {enabled}"] if enabled.startswith("enabled") else []
    found += server.run(rf"grep -rlE 'webstack\.django\.{header}\b' /etc /usr/local || true").splitlines()
    # As long as the package is there, its own instance, which nobody starts, lets nobody in.
    return [one for one in found if one != "/etc/redis/redis.conf"]


def test_packages_go_where_they_are_asked_to(machine: Machine) -> None:
    """What stopped above is still installed; `absent` takes it away, and only where it is not in use."""
    server = machine.server
    installed = "dpkg-query -W -f '${db:Status-Abbrev}' apache2 2>/dev/null || true"
    assert server.run(installed).startswith("ii")
    run = server.converge([machine.site], apache_state="absent")
    assert run.rc == 0, run.end
    assert not server.run(installed).startswith("ii")
    assert server.converge([machine.site], apache_state="absent").changed == 0
    refused = server.converge([machine.site], nginx_state="absent")
    assert refused.rc != 0
    assert "nginx_state: is absent for switching, and a site needs nginx there; remove the line" in refused.output


def test_another_database_is_refused_with_the_way_to_take_the_data_along(machine: Machine) -> None:
    for words in (["--check"], []):
        run = machine.converge(*words, database="sqlite")
        assert run.rc != 0
        assert "site plain" in run.output
        assert "dumpdata" in run.output
        assert "switch_from" in run.output
    assert "the first note, from a migration" in machine.server.wait(f"{URL}/")["body"]
    run = machine.converge(database="postgresql")
    assert (run.rc, run.changed) == (0, 0), run.end


def test_the_data_comes_along_to_another_database(machine: Machine) -> None:
    """The steps of docs/switching.md."""
    server = machine.server
    count = (
        "from notes.models import Note as N; from django.db import connection as c; print(c.vendor, N.objects.count())"
    )
    ask = f'webstack-manage plain shell -c "{count}" | tail -n 1'
    server.run("webstack-manage plain shell -c \"from notes.models import Note as N; N.objects.create(text='kept')\"")
    assert server.run(ask) == "postgresql 2\n"
    server.run("systemctl stop plain-web.socket plain-web.service")
    server.run(
        "webstack-manage plain dumpdata --natural-foreign --natural-primary --exclude=contenttypes "
        "--exclude=auth.permission --exclude=sessions --output=/srv/plain/shared/dump.json"
    )
    run = machine.converge(database={"engine": "mariadb", "switch_from": "postgresql"})
    assert run.rc == 0, run.end
    server.run("webstack-manage plain flush --no-input; webstack-manage plain loaddata /srv/plain/shared/dump.json")
    assert server.run(ask) == "mysql 2\n"
    assert "kept" in server.wait(f"{URL}/")["body"]
    run = machine.converge(database="mariadb")
    assert (run.rc, run.changed) == (0, 0), run.end
