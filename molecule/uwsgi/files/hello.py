"""An application that tells what it was asked, and who it is."""

import json
import os
import time

from words import WORDS

VERSION = "first"


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(float(environ["QUERY_STRING"]))
    elif path == "/error":
        raise RuntimeError("an error of the application")
    start_response("200 OK", [("Content-Type", "application/json")])
    said = {key: value for key, value in environ.items() if isinstance(value, str)}
    more = {"pid": os.getpid(), "version": VERSION, "words": WORDS}
    return [json.dumps({**said, **more, "threads": environ["wsgi.multithread"]}).encode()]
