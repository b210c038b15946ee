# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Memcached cache that may be down."""

import hashlib

from django.core.cache.backends.base import memcache_key_warnings
from django.core.cache.backends.memcached import PyMemcacheCache
from pymemcache.exceptions import MemcacheError, MemcacheServerError
from webstack_cache import tolerant


@tolerant((MemcacheError, OSError))
class TolerantMemcachedCache(PyMemcacheCache):
    """Django's Memcached cache; every failure of the connection is a miss, and so is what Memcached does not take."""

    def make_key(self, key, version=None):
        """A key that Memcached cannot take (too long, with spaces) is hashed; other caches take it, so projects have some."""
        made = super().make_key(key, version=version)
        if any(memcache_key_warnings(made)):
            return "hashed:" + hashlib.sha256(made.encode()).hexdigest()
        return made

    def set(self, key, value, *args, **kwargs):
        try:
            super().set(key, value, *args, **kwargs)
        except MemcacheServerError:  # too large, or no memory for it
            self.delete(key, version=kwargs.get("version", args[1] if len(args) > 1 else None))

    def add(self, key, value, *args, **kwargs):
        try:
            return super().add(key, value, *args, **kwargs)
        except MemcacheServerError:
            return False

    def set_many(self, data, *args, **kwargs):
        try:
            return super().set_many(data, *args, **kwargs)
        except MemcacheServerError:  # one of them; the others have a chance of their own
            for key, value in data.items():
                self.set(key, value, *args, **kwargs)
            return []

    def clear(self):
        try:
            return super().clear()
        except ValueError:  # what pymemcache says of a server that it has left alone since an earlier failure
            return False
