# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What belongs to a site that goes away, and what to others. tests/day2 removes real ones."""

from __future__ import annotations

from ansible_collections.webstack.django.plugins.module_utils import site_removal

HOST = """\
<VirtualHost *:443>
    ServerName webstack-any.{0}
    ServerAlias *.{0}
    SSLEngine On
</VirtualHost>
"""


def test_virtual_hosts_of_wildcards_of_one_site() -> None:
    head = "# ours\n"
    text = head + HOST.format("blog.example.com") + "\n" + HOST.format("shop.example.com")
    assert site_removal.without_domains(text, ["blog.example.com", "*.blog.example.com"]) == (
        head + "\n" + HOST.format("shop.example.com")
    )
    assert site_removal.without_domains(text, ["blog.example.com"]) == text
    assert site_removal.without_domains("", ["*.blog.example.com"]) == ""


def test_log_in_pages_of_one_site() -> None:
    head = "# ours\n[Definition]\nfailregex = "
    blog, api = "^<ADDR> a$(?#blog)", "^<ADDR> b$(?#blog-api)"
    between = "\n            "
    text = head + between.join([blog, blog, api]) + "\n"
    assert site_removal.without_logins(text, "blog") == head + api + "\n"
    assert site_removal.without_logins(text, "blog-api") == head + between.join([blog, blog]) + "\n"
    assert site_removal.without_logins(head + api + "\n", "blog-api") == head + "^<ADDR> nothing$\n"
    assert site_removal.without_logins(text, "shop") == text
    assert site_removal.without_logins("", "shop") == ""


def test_files_that_begin_like_those_of_a_site() -> None:
    paths = ["/var/log/webstack/blog-deploys.jsonl", "/var/log/webstack/blog-api-deploys.jsonl"]
    assert site_removal.own(paths, "blog", ["blog-api", "shop"]) == paths[:1]
    assert site_removal.own(paths, "blog", []) == paths
    assert site_removal.own(paths[1:], "blog-api", ["blog"]) == paths[1:]


def test_check_mode_changes_nothing() -> None:
    """Nothing of such a site is there: a run on this machine has nothing to do."""
    removal = site_removal.Removal("no-such-site-here", lambda _argv: (3, "", ""), check_mode=True, purge=True)
    removal.web([])
    removal.app()
    removal.stores()
    removal.data([])
    assert removal.actions == []
