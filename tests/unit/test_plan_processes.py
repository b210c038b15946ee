# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Processes of a site: detected ones, those of the user, and who runs them where."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import plan_worlds as worlds
import pytest
from ansible_collections.webstack.django.plugins.module_utils.detect_processes import celery
from ansible_collections.webstack.django.plugins.plugin_utils.plan import inspect, processes
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import Site

CELERY = {"app": "config", "beat": True}


def looked(detected: dict[str, Any], **more: Any) -> Site:
    """A site of a project in which something was detected."""
    (site,) = worlds.valid(worlds.site(**more))
    return dataclasses.replace(site, detected={**worlds.DETECTED, **detected})


def lines(site: Site) -> dict[str, str]:
    found = processes.lines(site)
    assert found.pop("web") == "gunicorn -c /etc/webstack/blog/gunicorn.conf.py"
    return found


def test_a_celery_app_gets_a_worker_beat_and_a_broker() -> None:
    site = looked({"celery": CELERY})
    assert lines(site) == {
        "worker": "celery -A config worker --loglevel INFO",
        "beat": "celery -A config beat --loglevel INFO --schedule /srv/blog/shared/celerybeat-schedule",
    }
    plan = worlds.servers().plans([site])["h1"]
    assert [(one["name"], one["purpose"]) for one in plan["redis_instances"]] == [
        ("blog-cache", "cache"),
        ("blog-broker", "broker"),
    ]
    assert plan["django_app_sites"][0]["env"]["CELERY_BROKER_URL"] == "redis+socket:///run/redis-blog-broker/redis.sock"
    assert plan["django_app_sites"][0]["activate"] == [
        ["systemctl", "restart", "blog-web.service"],
        ["systemctl", "--no-block", "restart", "blog-worker.service", "blog-beat.service"],
    ]
    worker = plan["systemd_processes"][1]
    assert (worker["command"], worker["stop_signal"], worker["stop_timeout"]) == (
        ["/srv/blog/current/run/worker"],
        "TERM",
        300,
    )
    assert worker["restart_on"] == ["/etc/webstack/blog/env", "/srv/blog/current"]


def test_without_anything_to_do_at_times_there_is_no_beat() -> None:
    assert list(lines(looked({"celery": {"app": "a", "beat": False}}))) == ["worker"]


def test_the_procfile_says_how_celery_runs() -> None:
    found = {"celery": CELERY, "processes": {"web": "gunicorn x", "Queue": "celery -A config worker -B -c 2"}}
    assert lines(looked(found)) == {"queue": "celery -A config worker -B -c 2"}


def test_the_user_has_the_last_word() -> None:
    found = {"celery": CELERY, "processes": {"bot": "python manage.py bot"}}
    given = {
        "bot": False,
        "beat": None,
        "worker": {"run": "celery -A config worker -c 1", "stop_timeout": 20, "memory_max_mb": 99},
    }
    site = looked(found, processes=given)
    assert lines(site) == {"worker": "celery -A config worker -c 1"}
    (worker,) = processes.beside_web(site)
    assert (worker.stop_timeout, worker.memory_max_mb, worker.first) == (20, 99, False)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python manage.py migrate", None),
        ("python3 manage.py migrate --noinput && python manage.py collectstatic --noinput", None),
        ("python manage.py migrate && python manage.py loaddata a.json", "python manage.py loaddata a.json"),
        ("./release.sh", "./release.sh"),
    ],
)
def test_the_release_line_is_done_after_the_migration(line: str, expected: str | None) -> None:
    site = looked({"processes": {"release": line}}, commands={"after_migrate": ["python manage.py x"]})
    app = worlds.servers().plans([site])["h1"]["django_app_sites"][0]
    runs = [one["run"] for one in app["commands"]["after_migrate"]]
    assert runs == (["python manage.py x"] if expected is None else ["python manage.py x", expected])
    assert lines(site) == {}


def test_two_servers_run_one_beat_and_one_job() -> None:
    schedules = [{"name": "night", "calendar": "03:30", "run": "python manage.py clearsessions"}]
    site = looked({"celery": CELERY}, schedules=schedules, processes={"tick": {"run": "x", "hosts": "first"}})
    plans = worlds.servers({"app": ["h1", "h2"], "web": ["h3"], "database": ["h3"], "cache": ["h3"]}, 3).plans([site])
    names = {name: [one["name"] for one in plans[name]["systemd_processes"]] for name in ("h1", "h2", "h3")}
    assert names == {
        "h1": ["blog-web", "blog-worker", "blog-beat", "blog-tick", "blog-night"],
        "h2": ["blog-web", "blog-worker"],
        "h3": [],
    }
    night = plans["h1"]["systemd_processes"][4]
    assert (night["calendar"], night["restart_on"]) == ("03:30", [])
    assert plans["h2"]["django_app_sites"][0]["activate"][1] == [
        "systemctl",
        "--no-block",
        "restart",
        "blog-worker.service",
    ]
    assert plans["h1"]["django_app_sites"][0]["activate"][2] == ["systemctl", "--no-block", "start", "blog-night.timer"]


def test_supervisord_gets_the_same_processes_and_the_units_that_it_replaces() -> None:
    site = looked({"celery": {"app": "a", "beat": False}}, process_manager="supervisord", app_server="uwsgi")
    plan = worlds.servers().plans([site])["h1"]
    assert plan["systemd_processes"] == []
    assert [one["name"] for one in plan["supervisord_processes"]] == ["blog-web", "blog-worker"]
    assert plan["supervisord_replaces"][:3] == ["blog-web.socket", "blog-web.timer", "blog-web.service"]
    assert plan["django_app_sites"][0]["activate"] == [
        ["/usr/local/sbin/webstack-supervisord", "restart", "blog-web"],
        ["/usr/local/sbin/webstack-supervisord", "--no-block", "restart", "blog-worker"],
    ]
    assert plan["django_app_sites"][0]["processes"]["web"] == "uwsgi --ini /etc/webstack/blog/uwsgi.ini"
    assert plan["parts"] == ["postgresql", "redis", "uwsgi", "supervisord", "nginx"]


def test_every_alternative_at_once() -> None:
    raw = worlds.site(
        web_server="apache", app_server="uwsgi", process_manager="supervisord", database="mariadb", cache="memcached"
    )
    plan = worlds.servers().plans(worlds.valid(raw))["h1"]
    assert plan["parts"] == ["mariadb", "memcached", "uwsgi", "supervisord", "apache"]
    assert plan["apache_sites"][0]["protocol"] == "uwsgi"
    assert plan["nginx_sites"] == []
    assert {one["port"]: one["programs"] for one in plan["ports"]} == {
        80: ["apache2"],
        443: ["apache2"],
        3306: ["mariadbd"],
    }
    app = plan["django_app_sites"][0]
    assert app["database"] == {
        "engine": "mysql", "name": "blog", "user": "blog", "password": "", "port": 3306, "host": "localhost",
        "sslmode": None, "url": "mysql://blog@localhost/blog",
    }  # fmt: skip
    assert app["cache"] == {"url": "memcached:///run/memcached-blog-cache/memcached.sock"}
    assert app["env"]["CACHE_URL"] == "pymemcache:///run/memcached-blog-cache/memcached.sock"
    assert app["packages"]["run"] == ["libmariadb3"]
    looks = {one["name"]: one["paths"] for one in plan["retired"]}
    assert looks["nginx"] == ["/etc/systemd/system/nginx.service.d/webstack.conf"]
    assert looks["systemd"] == ["/etc/systemd/system/blog-*.service"]
    assert looks["gunicorn"] == ["/etc/webstack/blog/gunicorn.conf.py"]
    assert "apache" not in looks


def test_sqlite_is_one_file_and_one_process() -> None:
    plan = worlds.servers(cpus=8).plans(worlds.valid(worlds.site(database="sqlite", cache="none")))["h1"]
    assert plan["parts"] == ["gunicorn", "systemd", "nginx"]
    assert plan["django_app_sites"][0]["database"]["name"] == "/srv/blog/shared/database/db.sqlite3"
    assert plan["django_app_sites"][0]["env"]["DATABASE_URL"] == "sqlite:////srv/blog/shared/database/db.sqlite3"
    (one,) = plan["gunicorn_instances"]
    assert (one["workers"], one["threads"]) == (1, 4)


@pytest.mark.parametrize(
    ("more", "number"),
    [({}, 1), ({"app_server": "uwsgi"}, 2), ({"app_server": "uwsgi", "threads": 1}, 1), ({"threads": 6}, 6)],
)
def test_uwsgi_has_two_threads_a_process(more: dict[str, Any], number: int) -> None:
    plan = worlds.servers().plans(worlds.valid(worlds.site(**more)))["h1"]
    assert plan[f"{more.get('app_server', 'gunicorn')}_instances"][0]["threads"] == number


def test_uwsgi_serves_no_asgi() -> None:
    site = looked({"interface": "asgi", "asgi": "shop.asgi:application"}, app_server="uwsgi")
    assert [str(one) for one in inspect.together([site])] == [
        "site blog: app_server: is uwsgi, which serves WSGI only, and the project is served by ASGI; set it to gunicorn, or "
        "interface to wsgi"
    ]


def test_units_of_two_sites_do_not_meet() -> None:
    sites = worlds.valid(worlds.site("a", processes={"b-web": "x"}), worlds.site("a-b"))
    assert [str(one) for one in inspect.together(sites)] == [
        "site a-b: name: its unit a-b-web is a process of site a as well; rename that"
    ]


@pytest.mark.parametrize(
    ("path", "text", "settings", "expected"),
    [
        ("config/celery.py", "app = Celery('x')\n", "CELERY_BEAT_SCHEDULE = {}", {"app": "config", "beat": True}),
        ("config/celery.py", "app = Celery('x')\n", "", {"app": "config", "beat": False}),
        (
            "shop/tasks/app.py",
            "import celery\nqueue: celery.Celery = celery.Celery()\n",
            "",
            {"app": "shop.tasks.app", "beat": False},
        ),
        ("src/shop/__init__.py", "app = Celery()\napp.conf.beat_schedule = {}\n", "", {"app": "shop", "beat": True}),
        ("config/celery.py", "# app = Celery('x')\n", "", None),
    ],
)
def test_celery_apps_are_found(tmp_path: Path, path: str, text: str, settings: str, expected: Any) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    assert celery(str(tmp_path), [path], settings) == expected
