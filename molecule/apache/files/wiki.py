"""Tells what uWSGI was asked."""

import json
import os


def application(environ, start_response):
    body = {key: value for key, value in environ.items() if isinstance(value, str)}
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body["length"] = len(environ["wsgi.input"].read(length))
    body["process"] = os.getppid()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]
