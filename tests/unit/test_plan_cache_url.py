"""URLs of the cache in a site's environment."""

from __future__ import annotations

from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import Site, environment

VALUES = {
    "secret_key": "k",
    "domain": "blog.example.com",
    "domains": "blog.example.com",
    "database.url": "",
    "broker.url": "",
}
GIVEN = {"name": "blog", "domains": ["blog.example.com"], "env": {}}


def test_cache_url_of_a_socket_is_one_that_parsers_of_urls_know() -> None:
    env = environment(Site(GIVEN), {**VALUES, "cache.url": "unix:///run/redis-blog-cache/redis.sock"})
    assert env["CACHE_URL"] == "redis:///run/redis-blog-cache/redis.sock"
    assert env["REDIS_URL"] == "unix:///run/redis-blog-cache/redis.sock"


def test_cache_url_of_another_server_is_the_same() -> None:
    env = environment(Site(GIVEN), {**VALUES, "cache.url": "rediss://:secret@10.0.0.2:6379/0"})
    assert env["CACHE_URL"] == env["REDIS_URL"] == "rediss://:secret@10.0.0.2:6379/0"
