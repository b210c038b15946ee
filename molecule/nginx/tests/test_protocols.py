"""What nginx passes on in other protocols than plain HTTP: uwsgi, and WebSockets."""

from __future__ import annotations

import json

CLIENT = """
import http.client, json, socket, ssl, sys
domain, method, path, headers, body = json.loads(sys.argv[1])
context = ssl._create_unverified_context()
connection = http.client.HTTPConnection(domain)
connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", 443)), server_hostname=domain)
connection.request(method, path, "x" * body, headers)
reply = connection.getresponse()
print(json.dumps([reply.status, dict(reply.getheaders()), reply.read().decode()]))
"""
# With asyncio: the synchronous client reads and writes one TLS connection in two threads, and hangs at times.
TALK = """
import asyncio, ssl
from websockets.asyncio.client import connect


async def talk():
    async with connect(
        "wss://talk.example.com/chat", host="127.0.0.1", port=443, server_hostname="talk.example.com",
        ssl=ssl._create_unverified_context(), proxy=None,
    ) as connection:
        for words in ("good day", "good night"):
            await connection.send(words)
            print(await asyncio.wait_for(connection.recv(), 10))


asyncio.run(talk())
"""


def ask(host, path="/", method="GET", body=0, domain="wsgi.example.com", **headers):
    """Status, headers and text of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return json.loads(host.check_output("python3 -c %s %s", CLIENT, json.dumps([domain, method, path, named, body])))


def test_uwsgi_gets_what_http_gets(host):
    status, _headers, text = ask(host, "/a%20b/?c=d%20e", Cookie="f=g", Accept_Language="de")
    said = json.loads(text)
    assert status == 200
    assert (said["PATH_INFO"], said["QUERY_STRING"], said["REQUEST_METHOD"]) == ("/a b/", "c=d%20e", "GET")
    assert (said["HTTP_HOST"], said["HTTP_COOKIE"], said["HTTP_ACCEPT_LANGUAGE"]) == ("wsgi.example.com", "f=g", "de")
    assert (said["HTTP_X_FORWARDED_PROTO"], said["scheme"]) == ("https", "https")
    assert (said["HTTP_X_FORWARDED_FOR"], said["HTTP_X_REAL_IP"]) == ("127.0.0.1", "127.0.0.1")


def test_uwsgi_gets_no_header_of_a_proxy_from_a_visitor(host):
    forged = {
        "X_Forwarded_For": "192.0.2.9",
        "X_Forwarded_Proto": "http",
        "X_Forwarded_Host": "evil.example.com",
        "X_Real_IP": "192.0.2.9",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
    }
    said = json.loads(ask(host, **forged)[2])
    assert (said["HTTP_X_FORWARDED_FOR"], said["HTTP_X_REAL_IP"]) == ("127.0.0.1", "127.0.0.1")
    assert said["HTTP_X_FORWARDED_PROTO"] == "https"
    assert not {"HTTP_X_FORWARDED_HOST", "HTTP_CONNECTION", "HTTP_UPGRADE"} & set(said)


def test_uwsgi_gets_whole_bodies(host):
    assert json.loads(ask(host, "/", "POST", 300_000)[2])["body"] == 300_000


def test_the_header_of_hsts_is_ours(host):
    assert ask(host)[1]["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"


def test_uwsgi_gets_as_much_time_as_the_site_says(host):
    status, _headers, text = ask(host, "/slow")
    assert status == 504
    assert "<html" in text


def test_websockets_reach_the_application(host):
    answers = host.check_output("/opt/servers/bin/python -c %s", TALK).splitlines()
    assert answers == ["good day from 127.0.0.1", "good night from 127.0.0.1"]
