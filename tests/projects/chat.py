"""Two people who are logged in talk over WebSockets; runs on a machine with Django's site and the package `websockets`.

Reads JSON on standard input: {"url": "https://chat.example.com", "address": "127.0.0.1", "port": 443,
"users": [[name, password], [name, password]], "messages": ["hello", ...]}. Names resolve to the address, certificates
are not verified. Prints {"stranger": ..., "got": [[what the first got], [what the second got]], "history": [...]}.

The WebSockets belong to asyncio: the synchronous client of `websockets` reads in one thread and writes in another, which
OpenSSL forbids for one connection (openssl/openssl#20446). With the session tickets of TLS 1.3 it hangs at times.
"""

import asyncio
import http.cookiejar
import json
import re
import socket
import ssl
import sys
import urllib.parse
import urllib.request

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException


class Person:
    """A browser with its cookies."""

    def __init__(self, given, context):
        self.given = given
        self.context = context
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPCookieProcessor(self.jar),
            urllib.request.ProxyHandler({}),
        )

    def get(self, path, form=None):
        url = self.given["url"] + path
        data = urllib.parse.urlencode(form).encode() if form else None
        return (
            self.opener.open(urllib.request.Request(url, data=data, headers={"Referer": url}), timeout=30)
            .read()
            .decode()
        )

    def login(self, name, password):
        path = "/admin/login/?next=/chat/"
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(path)).group(1)
        self.get(path, {"username": name, "password": password, "csrfmiddlewaretoken": token})

    def talk(self):
        """The WebSocket, as a page of the site opens it."""
        url = urllib.parse.urlsplit(self.given["url"])
        cookies = "; ".join(f"{one.name}={one.value}" for one in self.jar)
        return connect(
            url._replace(scheme=url.scheme.replace("http", "ws")).geturl() + "/ws/chat/",
            host=self.given["address"],
            port=self.given["port"],
            ssl=self.context if url.scheme == "https" else None,
            server_hostname=url.hostname if url.scheme == "https" else None,
            origin=self.given["url"],
            additional_headers={"Cookie": cookies} if cookies else None,
            proxy=None,
        )


async def refused(person):
    """What is said to somebody who may not talk."""
    try:
        async with person.talk():
            return "connected"
    except WebSocketException as error:
        return str(error)


async def chat(people, ids, messages):
    """What each of both got while they talked in turn, and what they saw last."""
    got = [[], []]
    async with people[0].talk() as one, people[1].talk() as two:
        for number, message in enumerate(messages):
            sender, receiver = (one, ids[1]) if number % 2 == 0 else (two, ids[0])
            await sender.send(json.dumps({"message": message, "receiver_id": receiver}))
            for index, socket_ in enumerate((one, two)):
                answer = json.loads(await asyncio.wait_for(socket_.recv(), 20))
                got[index].append([answer["sender_username"], answer["message"]])
    return got, answer


def main():
    given = json.load(sys.stdin)
    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *args, **kwargs: resolve(given["address"], *args, **kwargs)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    found = {"stranger": asyncio.run(refused(Person(given, context)))}
    people = [Person(given, context) for _ in given["users"]]
    for person, (name, password) in zip(people, given["users"]):
        person.login(name, password)
    first = json.loads(people[1].get("/chat/users/"))["users"]
    second = json.loads(people[0].get("/chat/users/"))["users"]
    ids = [
        next(one["id"] for one in first if one["username"] == given["users"][0][0]),
        next(one["id"] for one in second if one["username"] == given["users"][1][0]),
    ]
    found["got"], answer = asyncio.run(chat(people, ids, given["messages"]))
    found["history"] = [
        one["content"] for one in json.loads(people[0].get(f"/chat/history/{answer['conversation_id']}/"))["messages"]
    ]
    print(json.dumps(found))


main()
