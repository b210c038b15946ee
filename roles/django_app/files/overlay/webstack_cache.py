# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A cache that may be down: the site gets slower then, and does not fail."""

import functools
import logging
import time

_QUIET = 30  # seconds between two lines about the same trouble
_log = logging.getLogger("webstack.cache")
_last = 0.0


def tolerant(errors):
    """A decorator for a subclass of a cache of Django: with one of these errors it answers like an empty cache."""

    def decorate(backend):
        for name, answer in _ANSWERS.items():
            setattr(backend, name, _tolerant(getattr(backend, name), answer, errors))
        return backend

    return decorate


def _tolerant(method, answer, errors):
    @functools.wraps(method)
    def call(self, *args, **kwargs):
        global _last
        try:
            return method(self, *args, **kwargs)
        except errors as error:
            if time.monotonic() - _last > _QUIET:
                _last = time.monotonic()
                _log.warning("the cache does not answer, going on without it: %s", error)
            return answer(args, kwargs)

    return call


def _default(args, kwargs):
    return kwargs.get("default", args[1] if len(args) > 1 else None)


def _missing(args, kwargs):
    raise ValueError("Key %r not found" % (args[0] if args else kwargs.get("key")))


_ANSWERS = {
    "get": _default,
    "set": lambda args, kwargs: None,
    "add": lambda args, kwargs: False,
    "touch": lambda args, kwargs: False,
    "delete": lambda args, kwargs: False,
    "has_key": lambda args, kwargs: False,
    "incr": _missing,
    "decr": _missing,
    "get_many": lambda args, kwargs: {},
    "set_many": lambda args, kwargs: [],
    "delete_many": lambda args, kwargs: None,
    "clear": lambda args, kwargs: False,
}
