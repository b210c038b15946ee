#!/usr/bin/env python3
"""A small browser for tests; runs on the server under test with the standard library only.

Reads a JSON list of steps on standard input and prints the JSON list of their answers. All host
names are resolved to `--address` (default 127.0.0.1), certificates are not verified, cookies are
kept, redirects are followed unless a step says `"follow": false`.

A step: {"url": "https://blog.example.com/", "headers": {}, "form": {...} (POST, with the CSRF token
of the page before), "follow": true}. An answer: {"status", "url", "headers" (lower case), "body"}.
"""

import argparse
import http.cookiejar
import json
import re
import socket
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request


class Stay(urllib.request.HTTPRedirectHandler):
    """Hands a redirect back as the answer."""

    def redirect_request(self, *args, **kwargs):
        return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    address = parser.parse_args().address
    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *args, **kwargs: resolve(address, *args, **kwargs)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    handlers = [
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        urllib.request.ProxyHandler({}),
    ]
    answers = []
    token = ""
    for step in json.load(sys.stdin):
        opener = urllib.request.build_opener(*handlers, *([] if step.get("follow", True) else [Stay()]))
        headers = {"Referer": step["url"], **step.get("headers", {})}
        data = None
        if "form" in step:
            data = urllib.parse.urlencode({**step["form"], "csrfmiddlewaretoken": token}).encode()
        request = urllib.request.Request(step["url"], data=data, headers=headers)
        try:
            reply = opener.open(request, timeout=30)
        except urllib.error.HTTPError as error:
            reply = error
        except (urllib.error.URLError, OSError) as error:
            answers.append({"status": 0, "url": step["url"], "headers": {}, "body": str(error)})
            continue
        body = reply.read().decode("utf-8", "replace")
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', body)
        token = found.group(1) if found else token
        answers.append(
            {
                "status": reply.status,
                "url": reply.url,
                "headers": {key.lower(): value for key, value in reply.headers.items()},
                "body": body,
            }
        )
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
