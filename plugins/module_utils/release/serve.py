# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``releases/<id>/serve/webstack_serve.py``: the project's application, which can say of which release it is.

A health check has to know that the new release answers, and not a process of the old one. Whoever asks with the
header ``X-Webstack-Release`` and the name of a release gets the header back from that release and from no other; the
public, which does not know the name, sees nothing.
"""

from __future__ import annotations

import os

from ansible_collections.webstack.django.plugins.module_utils.release.health import HEADER
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

MODULE = "webstack_serve"
APPLICATION = MODULE + ":application"

_WSGI = '''\
"""The application of the project, which tells its release to those who name it."""

import os
{load}
_RELEASE = os.environ.get("WEBSTACK_RELEASE", "")


def application(environ, start_response):
    if not {always} and environ.get("HTTP_X_WEBSTACK_RELEASE") != _RELEASE:
        return _project(environ, start_response)

    def start(status, headers, *more):
        return start_response(status, [*headers, ("{header}", _RELEASE)], *more)

    return _project(environ, start)
'''
_ASGI = '''\
"""The application of the project, which tells its release to those who name it."""

import os
{load}
from asgiref.compatibility import guarantee_single_callable

_project = guarantee_single_callable(_project)
_MARK = (b"{lower}", os.environ.get("WEBSTACK_RELEASE", "").encode())


async def application(scope, receive, send):
    if scope["type"] != "http" or not ({always} or _MARK in map(tuple, scope["headers"])):
        return await _project(scope, receive, send)

    async def marked(message):
        if message["type"] == "http.response.start":
            message = {{**message, "headers": [*message.get("headers", ()), _MARK]}}
        await send(message)

    return await _project(scope, receive, marked)
'''


def directory(site: Site) -> str:
    """Where the module lies; on the PYTHONPATH of the release."""
    return os.path.join(site.release, "serve")


def text(site: Site, header: str) -> str | None:
    """The module; None where nobody knows what is served, or no application server serves it."""
    application = site.application
    if not application or not site["app_server"]:
        return None
    module, _colon, name = application.partition(":")
    load = "from importlib import import_module\n\n_project = import_module(%r).%s\n" % (module, name)
    template = _ASGI if site.interface == "asgi" else _WSGI
    return header + template.format(load=load, always=bool(site["release_header"]), header=HEADER, lower=HEADER.lower())
