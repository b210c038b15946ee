#!/usr/bin/env python3
"""A visitor who asks for a page over HTTPS again and again, each time on a new connection, until standard input ends.

visitor.py HOST PATH; prints JSON: requests, failed (not 200), longest (seconds without a good answer), first failures.
"""

import http.client
import json
import select
import socket
import ssl
import sys
import time

PAUSE = 0.1  # seconds: light load


def main() -> None:
    host, path = sys.argv[1:]
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda _name, *args, **kwargs: resolve("127.0.0.1", *args, **kwargs)
    requests, failures, longest, good = 0, [], 0.0, time.monotonic()
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        requests += 1
        began = time.monotonic()
        connection = http.client.HTTPSConnection(host, context=context, timeout=30)
        try:
            connection.request("GET", path)
            status = str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as error:
            status = type(error).__name__
        finally:
            connection.close()
        if status == "200":
            longest = max(longest, time.monotonic() - good if failures and failures[-1][0] > good else 0.0)
            good = time.monotonic()
        else:
            failures.append((began, status))
    if failures and failures[-1][0] > good:
        longest = max(longest, time.monotonic() - good)
    kinds: dict = {}
    for _moment, status in failures:
        kinds[status] = kinds.get(status, 0) + 1
    json.dump({"requests": requests, "failed": len(failures), "longest": round(longest, 2), "kinds": kinds}, sys.stdout)


main()
