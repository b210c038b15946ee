"""The blog of this scenario, as its visitors and its operator see it."""

from __future__ import annotations

import contextlib
import json

CLIENT = """
import http.client, json, os, socket, sys, time
def get(path, host="blog.example.com", cookie=""):
    connection = http.client.HTTPConnection(host)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    connection.sock.connect("/run/webstack/blog/web.sock")
    connection.request("GET", path, headers={"X-Forwarded-Proto": "https", "Cookie": cookie, "Connection": "close"})
    reply = connection.getresponse()
    return {"status": reply.status, "cookie": reply.getheader("Set-Cookie", ""), "body": reply.read().decode()}
"""
ASK = CLIENT + "print(json.dumps(get(*sys.argv[1:])))"
ASK_ON = (
    CLIENT
    + """
while True:
    try:
        reply = get("/")
        print(reply["status"], reply["body"].partition("<h1>")[2].partition("</h1>")[0], flush=True)
    except OSError as error:
        print(repr(error), flush=True)
    time.sleep(0.02)
"""
)


def ask(host, *arguments):
    """An answer of the blog, asked as the web server asks it: path, Host, cookie."""
    return json.loads(
        host.check_output("runuser -u www-data -- python3 -c %s" + " %s" * len(arguments), ASK, *arguments)
    )


@contextlib.contextmanager
def visitors(host):
    """Somebody asks for the page all the time; gives the answers, once they are over."""
    answers = []
    run = (
        "systemd-run --quiet --collect --unit=visitors --uid=www-data --property=StandardOutput=truncate:/run/visitors"
    )
    host.check_output(run + " --property=RuntimeMaxSec=150 python3 -c %s", ASK_ON)
    try:
        yield answers
    finally:
        host.check_output("systemctl stop visitors")
        answers += host.check_output("cat /run/visitors").splitlines()


def pid(host):
    return int(host.check_output("systemctl show -p MainPID --value blog-web"))


def serves(host, release, archive):
    """Whether this release is the one that visitors get."""
    page = ask(host, "/")
    assert page["status"] == 200
    assert f"<h1>Notes of {archive}</h1>" in page["body"]
    assert host.check_output("readlink /srv/blog/current") == f"releases/{release}"
    assert f"WEBSTACK_RELEASE={release}\n" in host.check_output(f"tr '\\0' '\\n' < /proc/{pid(host)}/environ") + "\n"
    return True


def releases(host, site="blog"):
    return set(host.check_output(f"ls /srv/{site}/releases").split())


def words(run):
    """Ansible's output in one line."""
    return " ".join(run.output.split())


def writable(host, site, *tops):
    """What the site's user can write to."""
    look = 'for path; do [ ! -w "$path" ] || echo "$path"; done'
    find = f"cd / && find -H {' '.join(tops)} -not -type l -print0 | runuser -u {site} -- xargs -0 sh -c '{look}' look"
    return sorted(host.check_output(find).splitlines())
