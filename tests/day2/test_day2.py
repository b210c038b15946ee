"""The playbooks for daily work, on one server with two sites: status, logs, manage, shell, and at last remove."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from servers import Run, Server, command, play, project

BLOG, API = "https://blog.example.com", "https://api.example.com"
PASSWORD = "correct-horse-9"
# What tells of a site on a server, with and without its data.
PARTS = (
    "ls -d /etc/systemd/system/blog-web* /etc/nginx/webstack.d/blog.conf /srv/blog/current /srv/blog/releases "
    "/etc/redis/redis-blog-cache.conf /etc/webstack/blog/env /run/webstack/blog 2>/dev/null || true"
)
DATA = (
    "ls -d /srv/blog /etc/webstack/tls/blog /etc/webstack/blog /var/log/webstack/blog-deploys.jsonl "
    "/var/backups/webstack/blog 2>/dev/null; getent passwd blog; getent group blog; "
    "runuser -u postgres -- psql -Atc \"SELECT datname FROM pg_database WHERE datname = 'blog' "
    "UNION SELECT rolname FROM pg_roles WHERE rolname = 'blog'\""
)

# Every file that a run could have changed, every unit and every rule, but for what changes by itself.
PHOTO = (
    "find /etc /srv /opt /usr /var /root /run/webstack /run/systemd/system -xdev "
    "\\( -path /var/log -o -path /var/lib/postgresql -o -path /var/lib/systemd -o -path '*/shared/database' \\) -prune -o "
    "-printf '%p %m %U %G %s %C@ %l\\n' | sort; nft -s list chain inet webstack input; "
    "systemctl show '*.service' '*.socket' '*.timer' --property=Id,ActiveState,InvocationID,UnitFileState | sort -u"
)


class Day:
    """The server, its sites and the playbooks."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.code = Path(project(directory / "projects", "plain"))
        jobs = {"night": {"run": "sleep infinity"}}
        self.sites: list[dict[str, Any]] = [
            {"name": "blog", "domains": ["blog.example.com"], "repo": str(self.code), "processes": jobs},
            # Its name begins like the other one's, and its processes are of the other manager.
            {
                "name": "blog-api",
                "domains": ["api.example.com"],
                "repo": str(self.code),
                "process_manager": "supervisord",
                "database": "sqlite",
                "cache": "none",
            },
        ]

    def converge(self) -> Run:
        return self.server.converge(self.sites)

    def play(self, name: str, *words: str, **variables: str) -> Run:
        """``ansible-playbook playbooks/<name>.yml`` with the inventory of the last converge."""
        return play(command(name, self.server.directory / "hosts.yml", *words, extra=variables))

    def status(self) -> list[str]:
        run = self.play("status")
        assert (run.rc, run.changed) == (0, 0), run.end
        lines = run.output.splitlines()
        return lines[lines.index("blog") :]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    directory = tmp_path_factory.mktemp("day2")
    server = Server("one", "debian13", "day2", directory)
    try:
        server.up()
        found = Day(server, directory)
        run = found.converge()
        assert run.rc == 0, run.end
        # None of the playbooks looks at the code.
        shutil.move(found.code, found.code.with_suffix(".away"))
        yield found
    finally:
        server.down()


def test_status_of_a_server_where_all_is_well(day: Day) -> None:
    lines = day.status()
    assert "all well" in lines, "\n".join(lines)
    release = day.server.run("basename $(readlink /srv/blog/current)").strip()
    assert any(line.startswith(f"    release      {release}, commit {release[:12]}") for line in lines)
    assert any(line.startswith("    health       ") and line.endswith("(GET /)") for line in lines)
    rows = {line.split()[0]: line.split() for line in lines if line[:4] == "    "}
    pid = day.server.run("systemctl show --property=MainPID --value blog-night").strip()
    assert rows["night"][1:3] == ["running", pid]
    assert rows["cache"][2] == "running"
    ports = next(line for line in lines if line.startswith("    ports"))
    for words in ("22 sshd", "80 nginx", "443 nginx", "local 5432 "):
        assert words in ports
    assert "postgres" in ports  # the program, or where that is not to be seen its account
    for secret in day.server.run(
        "sed -n 's/^[A-Z_]*=\"\\(.*\\)\"$/\\1/p' /etc/webstack/blog/env | awk 'length > 30'"
    ).split():
        assert secret not in "\n".join(lines)


def drift(day: Day, monkeypatch: pytest.MonkeyPatch, alone: bool) -> tuple[Run, dict[str, str]]:
    """A run of drift.yml, which looks at the code as a converge does, and its files."""
    kinds = {kind: day.server.directory / f"drift.{kind}" for kind in ("json", "html", "junit")}
    for kind, path in kinds.items():
        monkeypatch.setenv(f"WEBSTACK_DRIFT_{kind.upper()}", str(path))
    if alone:
        monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "webstack.django.drift")
    away = day.code.with_suffix(".away")
    shutil.move(away, day.code)
    try:
        run = day.play("drift")
    finally:
        shutil.move(day.code, away)
    return run, {kind: path.read_text() for kind, path in kinds.items()}


def test_what_differs_is_named_in_every_format_and_left_as_it_is(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    server = day.server
    virtual_host, conf, env = (
        "/etc/nginx/webstack.d/blog.conf",
        "/etc/webstack/blog/gunicorn.conf.py",
        "/etc/webstack/blog/env",
    )
    server.run(f"cp -a {virtual_host} {env} /run/")
    secrets = server.run(f"sed -n 's/^[A-Z_]*=\"\\(.*\\)\"$/\\1/p' {env} | awk 'length > 30'").split()
    server.run(f"echo '# three in the morning' >> {virtual_host}; echo 'EXTRA=\"hunter-22-hunter\"' >> {env}")
    server.run(f"chmod 0666 {conf}; systemctl stop redis-server@blog-cache")
    stopped = server.run(
        'date -u -d "$(systemctl show --value --property=InactiveEnterTimestamp redis-server@blog-cache)" +%FT%TZ'
    )
    before = server.run(PHOTO)
    try:
        run, written = drift(day, monkeypatch, alone=False)
        after = server.run(PHOTO)
    finally:
        server.run(f"cp -a /run/blog.conf {virtual_host}; cp -a /run/env {env}; chmod 0640 {conf}")
        server.run("systemctl start redis-server@blog-cache; systemctl reload nginx; systemctl restart blog-web")
    assert run.rc == 2, run.end
    assert sorted(set(after.splitlines()) ^ set(before.splitlines())) == []
    report = run.output[run.output.rindex("\none ") :]
    found = {one["thing"]: one for one in json.loads(written["json"])["hosts"]["one"]["drift"]}
    unit = "redis-server@blog-cache.service"
    assert {
        (one, found[one]["role"], found[one]["expected"], found[one]["found"])
        for one in (virtual_host, env, conf, unit)
    } == {
        (virtual_host, "nginx", "without these lines", "# three in the morning"),
        (env, "django_app", "the declared content (not shown)", "other content (not shown)"),
        (conf, "gunicorn", "mode 0640", "mode 0666"),
        (unit, "redis", "running", "inactive (dead)"),
    }
    assert found[unit]["since"] == stopped.strip()
    assert {found[one]["site"] for one in (virtual_host, env, conf, unit)} == {"blog"}
    for words in (report, *written.values()):
        for thing in (virtual_host, env, conf, unit, "# three in the morning", "0666"):
            assert thing in words
    for secret in [*secrets, "hunter-22"]:
        assert secret not in run.output + "".join(written.values())


def test_status_of_a_server_where_much_is_wrong(day: Day) -> None:
    server = day.server
    server.run("systemctl stop blog-web && webstack-supervisord stop blog-api-web")
    server.run(
        "cp -a /etc/webstack/tls/blog/fullchain.pem /run/kept.pem && openssl req -x509 -newkey rsa:2048 -nodes -days 3 "
        "-subj /CN=x -keyout /dev/null -out /etc/webstack/tls/blog/fullchain.pem 2>/dev/null"
    )
    server.run("mkdir -p /etc/webstack/maintenance /var/log/webstack /var/backups/webstack/blog")
    server.run("touch /etc/webstack/maintenance/blog.html; echo x > /var/backups/webstack/blog/blog.dump")
    server.run("mkdir /run/webstack-drained; echo 10.0.0.4:8001 > /run/webstack-drained/blog:2")
    last = {"time": "2026-01-02T03:04:05+00:00", "who": "ada", "what": "deploy", "result": "failed", "step": "migrate"}
    server.run("cat > /var/log/webstack/blog-deploys.jsonl", json.dumps(last) + "\n")
    try:
        lines = day.status()
        got = json.loads(json_of(day.play("status", site="blog", format="json").output))
    finally:
        server.run("cp -a /run/kept.pem /etc/webstack/tls/blog/fullchain.pem; rm /etc/webstack/maintenance/blog.html")
        server.run("rm -r /run/webstack-drained")
        assert server.run("systemctl is-active blog-web", check=False).strip() == "inactive"  # status did not start it
        server.run("systemctl start blog-web && webstack-supervisord start blog-api-web")
    wrong = [line for line in lines if line.startswith("! ") and not line.startswith("!  ")]
    assert wrong == [
        "! one: blog: health: no answer: web does not run",
        "! one: blog: the last deployment: failed",
        "! one: blog: certificate: 2 days left, self-signed; "
        "run the playbook webstack.django.site, which makes another one",
        "! one: blog: maintenance is on: visitors get status 503",
        "! one: blog: 10.0.0.4:8001 gets no requests; it will with the next deployment, if none is under way",
        "! one: blog: the process web is stopped",
        "! one: blog-api: health: no answer: web does not run",
        "! one: blog-api: the process web is stopped",
    ]
    assert "8 things need attention" in lines
    assert any(line.startswith("    last backup  blog.dump, 0 MB, ") for line in lines)
    assert list(got["servers"]["one"]["sites"]) == ["blog"]
    assert got["servers"]["one"]["sites"]["blog"]["certificate"]["days"] == 2
    assert [f"! {one}" for one in got["attention"]] == wrong[:6]


def json_of(output: str) -> str:
    lines = output.splitlines()
    return "\n".join(lines[lines.index("{") : lines.index("}") + 1])


def test_logs(day: Day) -> None:
    day.server.browse({"url": f"{BLOG}/no-such-page/"})
    run = day.play("logs", site="blog", lines="5")
    assert (run.rc, run.changed) == (0, 0), run.end
    begins = {line.partition(" | ")[0].strip() for line in run.output.splitlines() if " | " in line}
    assert begins == {"web", "night", "nginx"}
    web = [line for line in run.output.splitlines() if line.startswith("web")]
    assert 1 <= len(web) <= 5
    assert any("blog-web[" in line for line in web), run.end
    run = day.play("logs", site="blog-api", process="web")
    assert run.rc == 0, run.end
    assert "gunicorn" in run.output
    run = day.play("logs", site="blog", process="nihgt")
    assert run.rc != 0
    assert "site blog: process: 'nihgt' is none of web, night, cache, nginx; did you mean 'night'?" in run.output
    run = day.play("logs", site="blog", since="some time")
    assert run.rc != 0
    assert "since: 'some time' is no time that journalctl knows" in run.output


def test_management_commands(day: Day) -> None:
    run = day.play("manage", site="blog", command="showmigrations notes")
    assert run.rc == 0, run.end
    assert "notes\n [X] 0001_initial\n" in run.output
    run = day.play("manage", "--check", site="blog", command="flush --noinput")
    assert run.rc == 0, run.end
    assert "one: would run webstack-manage blog flush --noinput" in run.output
    run = day.play("manage", site="blog", command="shell -c 'import sys; print(40 + 2); sys.exit(3)'")
    assert run.rc != 0
    assert "\n42\n" in run.output
    assert "ended with status 3 on one" in " ".join(run.output.split())
    run = day.play("manage", site="blog", command="createsuperuser")
    assert run.rc != 0
    words = " ".join(run.output.split())
    assert "`createsuperuser` asks questions" in words
    assert "webstack-manage blog createsuperuser" in words


def test_the_commands_of_shell_work(day: Day) -> None:
    run = day.play("shell", site="blog")
    assert (run.rc, run.changed) == (0, 0), run.end
    lines = [line.strip() for line in run.output.splitlines()]
    line = lines[lines.index("# Django shell") + 1]
    assert line.startswith("ssh -t -p ")
    done = subprocess.run(
        ["sh", "-c", line.replace("blog shell", 'blog shell -c "print(40 + 2)"')],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "42" in done.stdout, done.stderr


def test_a_site_has_to_be_named(day: Day) -> None:
    for name, words in {"logs": "read", "shell": "looked at", "manage": "run", "remove": "removed"}.items():
        run = day.play(name)
        assert run.rc != 0
        assert f"site: name one site, like -e site=blog; nothing was {words}" in run.output
    run = day.play("status", site="blgo")
    assert run.rc != 0
    assert "there is no site 'blgo'; did you mean 'blog'?" in run.output


def test_a_purge_is_confirmed(day: Day) -> None:
    run = day.play("remove", site="blog", purge="true")
    assert run.rc != 0
    assert "say its name again to do that: -e purge=blog. Nothing was removed." in " ".join(run.output.split())
    before = day.server.run(PARTS)
    run = day.play("remove", "--check", site="blog", purge="blog")
    assert run.rc == 0, run.end
    assert run.changed > 0
    assert day.server.run(PARTS) == before
    assert day.server.browse({"url": f"{BLOG}/"})[0]["status"] == 200


def test_a_removed_site_leaves_its_data_and_the_other_site_serves(day: Day) -> None:
    server = day.server
    server.run("echo upload > /srv/blog/shared/media/a.txt")
    others = "systemctl show --property=MainPID --value nginx; webstack-supervisord pid blog-api-web"
    before = server.run(others)
    run = day.play("remove", site="blog")
    assert run.rc == 0, run.end
    assert "Remove its lines from django_sites, or set state: absent there" in " ".join(run.output.split())
    assert server.run(PARTS) == ""
    assert server.run("systemctl list-units --all --plain --no-legend 'blog-*' '*@blog-*'") == ""
    assert server.run("cat /srv/blog/shared/media/a.txt") == "upload\n"
    left = server.run(DATA, check=False).splitlines()
    assert {"/srv/blog", "/etc/webstack/tls/blog", "/var/log/webstack/blog-deploys.jsonl"} <= set(left)
    assert left[-1] == "blog"  # the database and its role
    assert any(line.startswith("blog:x:") for line in left)
    assert server.run(others) == before
    assert server.browse({"url": f"{API}/"})[0]["status"] == 200
    assert server.browse({"url": f"{BLOG}/"})[0]["status"] != 200
    run = day.play("remove", site="blog")
    assert (run.rc, run.changed) == (0, 0), run.end


def test_a_purged_site_leaves_nothing(day: Day) -> None:
    server = day.server
    run = day.play("remove", site="blog", purge="blog")
    assert run.rc == 0, run.end
    assert server.run(DATA, check=False) == ""
    # What the playbook has told to write down.
    inventory = server.directory / "hosts.yml"
    given = yaml.safe_load(inventory.read_text())
    day.sites[0] = given["all"]["vars"]["django_sites"][0] = {"name": "blog", "state": "absent"}
    inventory.write_text(yaml.safe_dump(given))
    run = day.play("remove", site="blog", purge="blog")
    assert (run.rc, run.changed) == (0, 0), run.end
    assert server.browse({"url": f"{API}/"})[0]["status"] == 200
    assert {"blog-api"} <= set(server.run("ls /etc/webstack /srv").split())
    assert "blog-api-web.log" in server.run("ls /var/log/supervisor")


def test_the_site_playbook_would_find_nothing_to_take_away(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    run, written = drift(day, monkeypatch, alone=True)
    lines = [line for line in run.output.splitlines() if not line.startswith("[WARNING]")]
    assert (run.rc, lines) == (0, ["one  clean", "1 server: 1 clean; nothing was changed"]), run.end
    assert json.loads(written["json"])["hosts"]["one"]["state"] == "clean"
    assert "<failure" not in written["junit"]


def test_a_site_of_supervisord_is_purged(day: Day) -> None:
    run = day.play("remove", site="blog-api", purge="blog-api")
    assert run.rc == 0, run.end
    server = day.server
    left = "ls -d /srv/blog-api /etc/supervisor/conf.d/webstack-* /etc/supervisor/webstack/* /var/log/supervisor/blog-api* 2>/dev/null"
    assert server.run(left, check=False) == ""
    assert server.run("webstack-supervisord status") in ("", "\n")
    assert server.run("getent passwd blog-api", check=False) == ""
    run = day.play("remove", site="blog-api", purge="blog-api")
    assert (run.rc, run.changed) == (0, 0), run.end
