# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Redis (or Valkey) cache that may be down."""

from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError
from webstack_cache import tolerant


@tolerant((RedisError, OSError))
class TolerantRedisCache(RedisCache):
    """Django's Redis cache; every failure of the connection is a miss."""
