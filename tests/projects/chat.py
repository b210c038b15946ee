"""Two people who are logged in talk over WebSockets; runs on a machine with Django's site and the package `websockets`.

Reads JSON on standard input: {"url": "https://chat.example.com", "address": "127.0.0.1", "port": 443,
"users": [[name, password], [name, password]], "messages": ["hello", ...]}. Names resolve to the address, certificates
are not verified. Prints {"stranger": ..., "got": [[what the first got], [what the second got]], "history": [...]}.
"""

import http.cookiejar
import json
import re
import socket
import ssl
import sys
import urllib.parse
import urllib.request

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect


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
        plain = socket.create_connection((self.given["address"], self.given["port"]), 10)
        cookies = "; ".join(f"{one.name}={one.value}" for one in self.jar)
        return connect(
            url._replace(scheme=url.scheme.replace("http", "ws")).geturl() + "/ws/chat/",
            sock=plain,
            ssl=self.context if url.scheme == "https" else None,
            origin=self.given["url"],
            additional_headers={"Cookie": cookies} if cookies else None,
        )


def main():
    given = json.load(sys.stdin)
    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *args, **kwargs: resolve(given["address"], *args, **kwargs)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    found = {"got": [[], []]}
    try:
        Person(given, context).talk()
        found["stranger"] = "connected"
    except WebSocketException as error:
        found["stranger"] = str(error)
    people = [Person(given, context) for _ in given["users"]]
    for person, (name, password) in zip(people, given["users"]):
        person.login(name, password)
    first = json.loads(people[1].get("/chat/users/"))["users"]
    second = json.loads(people[0].get("/chat/users/"))["users"]
    ids = [
        next(one["id"] for one in first if one["username"] == given["users"][0][0]),
        next(one["id"] for one in second if one["username"] == given["users"][1][0]),
    ]
    with people[0].talk() as one, people[1].talk() as two:
        for number, message in enumerate(given["messages"]):
            sender, receiver = (one, ids[1]) if number % 2 == 0 else (two, ids[0])
            sender.send(json.dumps({"message": message, "receiver_id": receiver}))
            for index, socket_ in enumerate((one, two)):
                answer = json.loads(socket_.recv(timeout=20))
                found["got"][index].append([answer["sender_username"], answer["message"]])
    found["history"] = [
        one["content"] for one in json.loads(people[0].get(f"/chat/history/{answer['conversation_id']}/"))["messages"]
    ]
    print(json.dumps(found))


main()
