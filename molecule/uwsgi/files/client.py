"""Speak the protocol uwsgi to the socket.

ask PATH [QUERY [COOKIE]]   the body of the answer
load SECONDS THREADS        go on asking; prints the number of answers, of failures, of processes, and the versions
many NUMBER SECONDS         that many slow requests at once; prints the processes
"""

import json
import socket
import struct
import sys
import threading
import time

SOCKET = "/run/webstack/hello/web.sock"


def ask(path="/", query="", cookie=""):
    values = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_URI": path,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "hello.example.com",
        "SERVER_PORT": "80",
        "HTTP_HOST": "hello.example.com",
        "HTTP_COOKIE": cookie,
    }
    parts = [struct.pack("<H", len(part)) + part.encode() for item in values.items() for part in item]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(SOCKET)
        connection.sendall(struct.pack("<BHB", 0, sum(map(len, parts)), 0) + b"".join(parts))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _empty, body = answer.decode().partition("\r\n\r\n")
    if not head.startswith("HTTP/1.1 200 "):
        raise OSError(f"no good answer: {answer!r}")
    return json.loads(body)


def main():
    what, words = sys.argv[1], sys.argv[2:]
    if what == "ask":
        print(json.dumps(ask(*words)))
        return
    answers, failures = [], []
    end = time.time() + float(words[0])

    def go():
        while True:
            try:
                answers.append(ask() if what == "load" else ask("/slow", words[1]))
            except OSError as error:
                failures.append(repr(error))
            if what != "load" or time.time() > end:
                break
            time.sleep(0.005)

    threads = [threading.Thread(target=go) for _ in range(int(words[1 if what == "load" else 0]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {key: sorted({one[key] for one in answers}) for key in ("pid", "version", "words")}
    print(json.dumps({**found, "answers": len(answers), "failures": failures}))


main()
