# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters each, mask and site_layout."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.webstack.django.plugins.filter.each import each
from ansible_collections.webstack.django.plugins.filter.mask import mask
from ansible_collections.webstack.django.plugins.filter.site_layout import site_layout


def test_mask() -> None:
    plan = {
        "password": "x",
        "secret_key": "y",
        "empty": {"password": None, "password_version": 1},
        "sites": [{"env": {"A": "b"}, "files": [{"path": "p", "content": "c"}]}],
        "urls": (
            "postgres://blog:x@10.0.0.1:5432/blog",
            "rediss://:x@h:1/0",
            "unix://:x@/run/redis.sock",
            "https://token@git.example.com/x.git",
            "https://me:x@git.example.com/x.git",
            "ssh://git@git.example.com/x.git",
            "git@git.example.com:x.git",
        ),
        "number": 5,
    }
    stars = "********"
    assert mask(plan) == {
        "password": stars,
        "secret_key": stars,
        "empty": {"password": None, "password_version": 1},
        "sites": [{"env": {"A": stars}, "files": [{"path": "p", "content": stars}]}],
        "urls": [
            f"postgres://blog:{stars}@10.0.0.1:5432/blog",
            f"rediss://:{stars}@h:1/0",
            f"unix://:{stars}@/run/redis.sock",
            f"https://{stars}@git.example.com/x.git",
            f"https://me:{stars}@git.example.com/x.git",
            "ssh://git@git.example.com/x.git",
            "git@git.example.com:x.git",
        ],
        "number": 5,
    }


def test_each() -> None:
    items = [
        {"name": "a", "list": [1, 2], "mode": None},
        {"name": "b", "state": "absent"},
        {"name": "c", "list": [], "mode": "x"},
    ]
    shape = {"path": "/etc/{name}.conf", "all": [0, "{list}"], "mode": "{mode}", "plain": 7}
    assert each(items, shape, "item", {"mode": "0644"}) == [
        {
            "path": "/etc/a.conf",
            "all": [0, 1, 2],
            "mode": "0644",
            "plain": 7,
            "vars": {"item": {"mode": "0644", "name": "a", "list": [1, 2]}},
        },
        {
            "path": "/etc/c.conf",
            "all": [0],
            "mode": "x",
            "plain": 7,
            "vars": {"item": {"mode": "x", "name": "c", "list": []}},
        },
    ]
    assert each(items, {"x": "{name}"}, state="absent") == [{"x": "b"}]
    with pytest.raises(AnsibleFilterError, match="a has no 'group'"):
        each(items, {"x": "{group}"})


def test_site_layout() -> None:
    (first, second) = site_layout(
        [{"name": "blog"}, {"name": "wiki", "user": "w", "media": {"root": "/var/lib/m"}, "env": {"A": "b c"}}]
    )
    assert {key: first[key] for key in ("name", "state", "user", "group", "root", "media")} == {
        "name": "blog",
        "state": "present",
        "user": "blog",
        "group": "blog",
        "root": "/srv/blog",
        "media": "/srv/blog/shared/media",
    }
    assert (second["user"], second["group"], second["media"]) == ("w", "w", "/var/lib/m")
    assert 'A="b c"' in second["environment"] or "A='b c'" in second["environment"]
