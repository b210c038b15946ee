"""A Django site with the generated settings and a cache that dies; run on a machine with Django, both daemons and OVERLAY.

python cache_site.py OVERLAY redis|memcached: prints what a visitor and the project got, as JSON.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OVERLAY, KIND = sys.argv[1:]
WORK = tempfile.mkdtemp()
SOCKET = WORK + "/cache.sock"
DAEMONS = {
    "redis": ["redis-server", "--port", "0", "--unixsocket", SOCKET, "--save", "", "--dir", WORK],
    "memcached": ["memcached", "-u", "memcache", "-s", SOCKET, "-a", "0666", "-m", "16"],
}
URLS = {"redis": "unix://" + SOCKET, "memcached": "memcached://" + SOCKET}
os.chmod(WORK, 0o777)  # memcached gives up root before it makes its socket
sys.path.insert(0, OVERLAY)
os.environ.update(WEBSTACK_SECRET_KEY="k" * 50, WEBSTACK_CACHE_URL=URLS[KIND])


def start():
    """The daemon, when it answers."""
    Path(SOCKET).unlink(missing_ok=True)
    daemon = subprocess.Popen(DAEMONS[KIND], stdout=subprocess.DEVNULL)
    while not os.path.exists(SOCKET):
        time.sleep(0.05)
    return daemon


def stop(daemon):
    daemon.kill()
    daemon.wait()


daemon = start()

import webstack_production  # noqa: E402
from django.conf import settings  # noqa: E402

values = {
    "DEBUG": True,
    "ROOT_URLCONF": "__main__",
    "INSTALLED_APPS": ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": WORK + "/db.sqlite3"}},
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
}
site = {
    "name": "blog",
    "release": WORK,
    "secret_key": True,
    "allowed_hosts": ["testserver"],
    "trusted_origins": [],
    "database": None,
    "cache": KIND,
    "static_root": WORK,
    "media_root": WORK,
    "media_url": "/media/",
}
webstack_production.apply(values, site)
settings.configure(**values)

import django  # noqa: E402

django.setup()

from django.contrib.auth import authenticate, login, models  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.cache import cache_page  # noqa: E402


def enter(request):
    login(request, authenticate(username="ann", password="p"))
    return HttpResponse("in")


def me(request):
    request.session["visits"] = visits = request.session.get("visits", 0) + 1
    return HttpResponse(f"{request.user.username} {visits}")


@cache_page(60)
def clock(request):
    return HttpResponse(str(time.monotonic()))


urlpatterns = [path("enter/", enter), path("me/", me), path("clock/", clock)]


def visit(client, url):
    begun = time.monotonic()
    answer = client.get(url, secure=True)
    return answer.status_code, answer.content.decode(), time.monotonic() - begun


def answers():
    """What each method says."""

    def incr():
        try:
            return cache.incr("n")
        except ValueError:
            return "ValueError"

    return {
        "set": cache.set("a", 1),
        "get": cache.get("a", "missing"),
        "add": cache.add("b", 1),
        "touch": cache.touch("a"),
        "has_key": "a" in cache,
        "set_many": cache.set_many({"n": 1, "m": 2}),
        "get_many": cache.get_many(["n", "m"]),
        "incr": incr(),
        "get_or_set": cache.get_or_set("g", lambda: 7),
        "delete": cache.delete("a"),
        "delete_many": cache.delete_many(["b", "n", "m"]),
        "clear": bool(cache.clear()),
    }


call_command("migrate", verbosity=0)
models.User.objects.create_user("ann", password="p")
found = {"alive": answers()}
client = Client()
client.get("/enter/", secure=True)
found["me"] = [visit(client, "/me/")[:2]]
found["cached"] = visit(client, "/clock/")[1] == visit(client, "/clock/")[1]

cache.set("big", "small")
cache.set("big", os.urandom(2_000_000))
long = "key with spaces " * 40
cache.set(long, "long")
cache.set_many({"many": 5, "big too": os.urandom(2_000_000)})
found["limits"] = [cache.get("big") is None, cache.get(long), cache.get("many"), cache.get("big too") is None]
found["many"] = cache.get_many([long, "many"]) == {long: "long", "many": 5}

daemon.send_signal(signal.SIGSTOP)
status, text, seconds = visit(client, "/me/")
found["me"].append([status, text])
found["slow"] = seconds
daemon.send_signal(signal.SIGCONT)
stop(daemon)

found["dead"] = answers()
found["me"].append(visit(client, "/me/")[:2])
found["page"] = visit(client, "/clock/")[0]
other = Client()
found["enter"] = [visit(other, "/enter/")[:2], visit(other, "/me/")[:2]]

daemon = start()
time.sleep(6)
found["me"].append(visit(client, "/me/")[:2])
found["back"] = answers()
stop(daemon)
print(json.dumps(found))
