"""An ASGI application behind a socket of systemd."""

from __future__ import annotations

import json

import pytest

CLIENT = """
import http.client, json, socket, sys, threading, time
def ask(path):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX); connection.sock.connect("/run/chat.sock")
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1", "Connection": "close"}
    connection.request("GET", path, headers=headers)
    return connection.getresponse().read().decode().split()
path, seconds = sys.argv[1], float(sys.argv[2])
answers, failures, end = [], [], time.time() + seconds
def go():
    while True:
        try:
            answers.append(ask(path))
        except OSError as error:
            failures.append(repr(error))
        if time.time() > end:
            break
threads = [threading.Thread(target=go) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"answers": answers, "failures": failures}))
"""
TALK = """
from websockets.sync.client import unix_connect
headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
with unix_connect("/run/chat.sock", "ws://localhost/chat", additional_headers=headers) as connection:
    for words in ("hello", "again"):
        connection.send(words)
        print(connection.recv(timeout=10))
"""


@pytest.fixture(autouse=True)
def running(host):
    assert host.run("systemctl start chat.socket chat").rc == 0, host.run("journalctl -u chat -n 30").stdout


def ask(host, path="/", seconds=0):
    return json.loads(host.check_output("python3 -c %s %s %s", CLIENT, path, str(seconds)))


def test_http_with_the_headers_of_the_proxy(host):
    found = ask(host)
    assert found["failures"] == []
    assert {(scheme, address) for scheme, _pid, address in found["answers"]} == {("https", "192.0.2.1")}
    assert host.check_output("systemctl show -p ActiveState --value chat") == "active"


def test_a_websocket_there_and_back(host):
    answers = host.check_output("/srv/hello/venv/bin/python -c %s", TALK).splitlines()
    assert answers == ["hello wss 192.0.2.1", "again wss 192.0.2.1"]


def test_processes_are_replaced_and_no_request_fails(host):
    found = ask(host, seconds=6)
    assert found["failures"] == []
    assert len({pid for _scheme, pid, _address in found["answers"]}) > 3


def test_no_request_fails_at_a_restart(host):
    done = host.run("python3 -c %s / 5 & sleep 1; systemctl restart chat; wait", CLIENT)
    assert json.loads(done.stdout)["failures"] == []
    assert len(json.loads(done.stdout)["answers"]) > 50


def test_requests_under_way_are_finished_at_a_stop(host):
    done = host.run("python3 -c %s /slow 0 & sleep 1; systemctl stop chat; wait", CLIENT)
    found = json.loads(done.stdout)
    assert (len(found["answers"]), found["failures"]) == (4, [])
    assert host.check_output("systemctl show -p Result --value chat") == "success"


def test_the_journal_is_quiet_about_what_django_lacks(host):
    said = host.check_output("journalctl -u chat -o cat")
    assert "Application startup complete" in said
    assert "lifespan" not in said
    assert "Traceback" not in said
