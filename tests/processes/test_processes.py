"""Two application servers behind one web server: a queue with workers, a job at times, and a chat over WebSockets."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import ROOT, Run, Server, converge, project

PASSWORD = "correct-horse-9"
QUEUE = "https://celery.example.com"
CHAT = "https://channels.example.com"
GROUPS = {"database": ["first"], "cache": ["first"], "web": ["first"], "app": ["first", "second"]}


class Two:
    """Both servers, and what is deployed there."""

    def __init__(self, servers: list[Server], directory: Path) -> None:
        self.servers = servers
        self.first, self.second = servers
        self.code = Path(project(directory / "projects", "celery"))
        night = {
            "name": "night",
            "calendar": "*:*:0/5",
            "run": "python manage.py shell -c 'import jobs.models as m; m.Done(name=\"night\").save()'",
        }
        self.sites: list[dict[str, Any]] = [
            {"name": "celery", "domains": ["celery.example.com"], "repo": str(self.code), "schedules": [night]},
            {
                "name": "channels",
                "domains": ["channels.example.com"],
                "path": project(directory / "projects", "channels"),
            },
        ]

    def converge(self, **choices: Any) -> Run:
        self.sites = [{**one, **choices} for one in self.sites]
        return converge(self.servers, self.sites, groups=GROUPS)

    def done(self) -> list[str]:
        (answer,) = self.first.browse({"url": f"{QUEUE}/done/"})
        return [name for name in json.loads(answer["body"])["done"] if name != "night"]

    def queue(self, *names: str, seconds: float = 0) -> None:
        steps = [{"url": f"{QUEUE}/queue/?seconds={seconds}&name={name}"} for name in names]
        assert [json.loads(one["body"]) for one in self.first.browse(*steps)] == [{"queued": name} for name in names]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    directory = tmp_path_factory.mktemp("processes")
    servers = [
        Server(name, image, "processes", directory) for name, image in (("first", "debian13"), ("second", "debian12"))
    ]
    try:
        for server in servers:
            server.up()
        found = Two(servers, directory)
        run = found.converge()
        assert run.rc == 0, run.end
        yield found
    finally:
        for server in servers:
            server.down()


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def units(server: Server, kind: str = "service") -> list[str]:
    return server.run(
        f"systemctl list-units --plain --no-legend --type={kind} 'celery-*' | cut -d' ' -f1 | grep -v night.service || true"
    ).split()


def test_workers_everywhere_and_one_beat(two: Two) -> None:
    assert units(two.first) == ["celery-beat.service", "celery-web.service", "celery-worker.service"]
    assert units(two.second) == ["celery-web.service", "celery-worker.service"]
    before = json.loads(two.first.browse({"url": f"{QUEUE}/ticks/"})[0]["body"])["ticks"]
    time.sleep(10)
    after = json.loads(two.first.browse({"url": f"{QUEUE}/ticks/"})[0]["body"])["ticks"]
    assert 3 <= after - before <= 7  # one each 2 seconds, and not two


def test_a_job_runs_at_its_times_on_one_server(two: Two) -> None:
    assert units(two.first, "timer") == ["celery-night.timer"]
    assert units(two.second, "timer") == []
    until(lambda: "night" in two.first.browse({"url": f"{QUEUE}/done/"})[0]["body"])


def test_tasks_that_were_queued_before_a_deployment_finish(two: Two) -> None:
    """Both workers are at a task when the release is switched; more wait behind these."""
    (two.code / "jobs" / "news.py").write_text("NEWS = True\n")
    subprocess.run(["git", "add", "-A"], cwd=two.code, check=True)
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-qm", "news"],
        cwd=two.code,
        check=True,
    )
    names = [f"before-{number}" for number in range(10)]
    pids = [server.run("systemctl show --property=MainPID --value celery-worker") for server in two.servers]
    releases = [server.run("readlink /srv/celery/current") for server in two.servers]
    two.queue(*names, seconds=6)
    run = two.converge()
    assert run.rc == 0, run.end
    assert not set(releases) & {server.run("readlink /srv/celery/current") for server in two.servers}
    until(lambda: sorted(two.done()) == sorted(names), 180)
    new = [server.run("systemctl show --property=MainPID --value celery-worker") for server in two.servers]
    assert not set(pids) & set(new)
    for server in two.servers:
        assert "Traceback" not in server.run("journalctl -q -o cat -u celery-worker")
        assert server.run("systemctl --failed --plain --no-legend") == ""
    run = two.converge()
    assert (run.rc, run.changed) == (0, 0), run.end


def test_a_killed_worker_loses_no_task_that_is_acknowledged_late(two: Two) -> None:
    names = [f"killed-{number}" for number in range(4)]
    two.queue(*names, seconds=6)
    time.sleep(2)
    for server in two.servers:
        server.run(
            "systemctl kill --kill-whom=all --signal=KILL celery-worker || systemctl kill --signal=KILL celery-worker"
        )
    until(lambda: set(names) <= set(two.done()), 120)
    assert units(two.second) == ["celery-web.service", "celery-worker.service"]


def test_a_changed_environment_restarts_workers(two: Two) -> None:
    before = two.second.run("systemctl show --property=MainPID --value celery-worker")
    two.sites[0] = {**two.sites[0], "env": {"GREETING": "hello"}}
    assert two.converge().rc == 0
    until(lambda: two.second.run("systemctl show --property=MainPID --value celery-worker") != before)
    pid = two.second.run("systemctl show --property=MainPID --value celery-worker").strip()
    until(lambda: "GREETING=hello" in two.second.run(f"tr '\\0' '\\n' < /proc/{pid}/environ"))


@pytest.fixture(scope="module")
def client(two: Two) -> str:
    """A Python with the package `websockets` on the web server."""
    two.first.run(
        "apt-get -qq install -y python3-websockets >/dev/null 2>&1; python3 -c 'import websockets.asyncio.client'"
    )
    two.first.run("cat > /run/chat.py", (ROOT / "tests/projects/chat.py").read_text())
    for name in ("ada", "bob"):
        two.first.run(
            f"DJANGO_SUPERUSER_PASSWORD={PASSWORD} webstack-manage channels createsuperuser --noinput --username {name} "
            f"--email {name}@example.com"
        )
    return "python3 /run/chat.py"


@pytest.mark.parametrize("web_server", ["nginx", "apache"])
def test_people_chat_over_websockets(two: Two, client: str, web_server: str) -> None:
    if web_server != "nginx":
        run = two.converge(web_server=web_server)
        assert run.rc == 0, run.end
    assert json.loads(two.first.run("cat /srv/channels/current/release.json"))["interface"] == "asgi"
    given = {
        "url": CHAT,
        "address": "127.0.0.1",
        "port": 443,
        "users": [["ada", PASSWORD], ["bob", PASSWORD]],
        "messages": [f"{web_server} {number}" for number in range(6)],
    }
    found = json.loads(two.first.run(client, json.dumps(given)))
    said = [[("ada", "bob")[number % 2], text] for number, text in enumerate(given["messages"])]
    assert found["got"] == [said, said]
    assert found["stranger"] != "connected"
    server = {"nginx": "nginx", "apache": "Apache"}[web_server]
    assert two.first.browse({"url": f"{CHAT}/admin/login/"})[0]["headers"]["server"] == server
