# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Redis cache that may be down: the site gets slower then, and does not fail."""

import functools
import logging
import time

from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

_QUIET = 30  # seconds between two lines about the same trouble
_log = logging.getLogger("webstack.cache")
_last = 0.0


def _tolerant(name, answer):
    """A method that answers like an empty cache when Redis does not."""
    method = getattr(RedisCache, name)

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        global _last
        try:
            return method(self, *args, **kwargs)
        except (RedisError, OSError) as error:
            if time.monotonic() - _last > _QUIET:
                _last = time.monotonic()
                _log.warning("the cache does not answer, going on without it: %s", error)
            return answer(args, kwargs)

    return call


def _default(args, kwargs):
    return kwargs.get("default", args[1] if len(args) > 1 else None)


def _missing(args, kwargs):
    raise ValueError("Key %r not found" % (args[0] if args else kwargs.get("key")))


class TolerantRedisCache(RedisCache):
    """Django's Redis cache; every failure of the connection is a miss."""

    get = _tolerant("get", _default)
    set = _tolerant("set", lambda args, kwargs: None)
    add = _tolerant("add", lambda args, kwargs: False)
    touch = _tolerant("touch", lambda args, kwargs: False)
    delete = _tolerant("delete", lambda args, kwargs: False)
    has_key = _tolerant("has_key", lambda args, kwargs: False)
    incr = _tolerant("incr", _missing)
    get_many = _tolerant("get_many", lambda args, kwargs: {})
    set_many = _tolerant("set_many", lambda args, kwargs: [])
    delete_many = _tolerant("delete_many", lambda args, kwargs: None)
    clear = _tolerant("clear", lambda args, kwargs: False)
