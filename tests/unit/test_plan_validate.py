# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Wrong input of the plan: each mistake is said with its site, its key and what to do."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import plan_worlds as worlds
import pytest
from ansible_collections.webstack.django.plugins.plugin_utils.plan import schema, validate
from hypothesis import assume, given
from hypothesis import strategies as st

site = worlds.site


def errors(*raw: Any) -> list[str]:
    _sites, found = validate.sites(list(raw))
    return [str(error) for error in found]


# What people get wrong ---------------------------------------------------------------------------------

NAME = "is not a name of at most 31 lower-case letters, digits, '-' and '_' that begins with a letter"
CASES: list[tuple[dict[str, Any], str]] = [
    # names
    ({"name": "Blog"}, f"site Blog: name: 'Blog' {NAME}"),
    ({"name": "blög"}, f"site blög: name: 'blög' {NAME}"),
    ({"name": "9lives"}, f"site 9lives: name: '9lives' {NAME}"),
    ({"name": "a b"}, f"site a b: name: 'a b' {NAME}"),
    ({"name": "a" * 32}, f"site {'a' * 32}: name: '{'a' * 32}' {NAME}"),
    ({"name": ""}, f"site number 1: name: '' {NAME}"),
    ({"name": None}, "site number 1: name: is empty; give it a value or remove the line"),
    ({"name": 123}, "site 123: name: must be text, and YAML reads it as the number 123; put quotes around what you wrote"),
    ({"name": ["a"]}, "site ['a']: name: must be text, not the list ['a']"),
    *(
        ({"name": name}, f"site {name}: name: '{name}' is a name that the system uses itself; choose another one")
        for name in ("root", "postgres", "www-data", "redis", "nobody", "admin", "tls", "template1", "replication")
    ),
    # domains
    ({"domains": None}, "site blog: domains: is missing; give at least one host name"),
    ({"domains": []}, "site blog: domains: is missing; give at least one host name"),
    ({"domains": "blog.example.com"}, "site blog: domains: must be a list, not the text 'blog.example.com'; write [blog.example.com]"),
    ({"domains": {"a": 1}}, "site blog: domains: must be a list, not the mapping {'a': 1}"),
    ({"domains": [None]}, "site blog: domains[0]: is empty; give it a value or remove the line"),
    ({"domains": [""]}, "site blog: domains[0]: is empty; give it a value or remove the line"),
    ({"domains": [12]}, "site blog: domains[0]: must be text, and YAML reads it as the number 12; put quotes around what you wrote"),
    ({"domains": ["https://a.example.com"]}, "site blog: domains[0]: 'https://a.example.com' is not a domain; write only the host name, without scheme and path"),
    ({"domains": ["a.example.com/x"]}, "site blog: domains[0]: 'a.example.com/x' is not a domain; write only the host name, without scheme and path"),
    ({"domains": ["a.example.com:8000"]}, "site blog: domains[0]: 'a.example.com:8000' is not a domain; write it without the port"),
    ({"domains": ["a_b.example.com"]}, "site blog: domains[0]: 'a_b.example.com' is not a domain; letters, digits and '-' between dots, like 'www.example.com'"),
    ({"domains": ["*.example.com"]}, "site blog: domains[0]: the first domain is the canonical one and cannot be a wildcard"),
    ({"domains": ["a.example.com", "A.example.com."]}, "site blog: domains[1]: 'A.example.com.' is there twice"),
    ({"domains": ["a.example.com"], "redirect_domains": ["a.example.com"]}, "site blog: redirect_domains: 'a.example.com' is one of the site's domains already; name it in one place"),
    # where the code is
    ({"path": None}, "site blog: repo: is missing; say where the code is with one of repo, path and package"),
    ({"path": ""}, "site blog: path: is empty; give it a value or remove the line"),
    ({"repo": "x"}, "site blog: path: repo and path are given; where the code is can be said once only"),
    ({"version": "main"}, "site blog: version: belongs to a repo; a package's version is written 'name==1.2'"),
    ({"path": None, "repo": "x", "version": 1.0}, "site blog: version: must be text, and YAML reads it as the number 1.0; put quotes around what you wrote"),
    ({"path": None, "repo": "x", "version": datetime.date(2026, 1, 5)}, "site blog: version: must be text, and YAML reads it as the date 2026-01-05; put quotes around what you wrote"),
    ({"path": None, "repo": "x", "version": ""}, "site blog: version: is empty; give it a value or remove the line"),
    ({"path": None, "package": "wiki==1", "wsgi": "wiki.wsgi"}, "site blog: settings: is missing; a package's cannot be detected, look in its documentation"),
    # unknown keys
    ({"domaines": []}, "site blog: domaines: unknown key; did you mean 'domains'?"),
    ({"Env": {}}, "site blog: Env: unknown key; did you mean 'env'?"),
    ({"keep-releases": 3}, "site blog: keep-releases: unknown key; did you mean 'keep_releases'?"),
    ({"branch": "main"}, "site blog: branch: unknown key; did you mean 'version'?"),
    ({"environment": {}}, "site blog: environment: unknown key; did you mean 'env'?"),
    ({5: 1}, "site blog: 5: unknown key; known are "),
    ({"database": {"naem": "x"}}, "site blog: database.naem: unknown key; did you mean 'name'?"),
    ({"files": [{"path": "x", "content": "", "mod": "0640"}]}, "site blog: files[0].mod: unknown key; did you mean 'mode'?"),
    ({"commands": {"onse": []}}, "site blog: commands.onse: unknown key; did you mean 'once'?"),
    ({"build": [{"run": "npm ci", "dirr": "x"}]}, "site blog: build[0].dirr: unknown key; did you mean 'dir'?"),
    # values
    ({"state": "gone"}, "site blog: state: 'gone' is not one of present, absent"),
    ({"python": 3.13}, "site blog: python: must be text, and YAML reads it as the number 3.13; put quotes around what you wrote"),
    ({"python": "3"}, "site blog: python: '3' is not a version like '3.13'"),
    ({"workers": 0}, "site blog: workers: 0 is too small; at least 1"),
    ({"workers": "4"}, "site blog: workers: must be a whole number, not the text '4'"),
    ({"timeout": 30.5}, "site blog: timeout: must be a whole number, not the number 30.5"),
    ({"timeout": None}, "site blog: timeout: is empty; give it a value or remove the line"),
    ({"migrate": "yes"}, "site blog: migrate: must be true or false, not the text 'yes'"),
    ({"migrate": 1}, "site blog: migrate: must be true or false, not the number 1"),
    ({"keep_releases": True}, "site blog: keep_releases: must be a whole number, not the truth value true"),
    ({"cache": "varnish"}, "site blog: cache: 'varnish' is not one of redis, memcached, none"),
    ({"database": "oracle"}, "site blog: database.engine: 'oracle' is not one of postgresql, mariadb, mysql, sqlite, none"),
    (
        {"database": {"engine": "mariadb", "switch_from": "mysql"}},
        "site blog: database.switch_from: is the engine itself (mariadb); remove the line",
    ),
    (
        {"database": {"engine": "sqlite", "extensions": ["hstore"]}},
        "site blog: database.extensions: belong to postgresql; sqlite has none, remove the line",
    ),
    ({"database": {"engine": "mariadb", "name": "mysql"}}, "site blog: database.name: 'mysql' belongs to MariaDB itself; choose another name"),
    ({"broker": "rabbit"}, "site blog: broker: is not one of auto, redis and none, nor a URL like 'amqp://user:password@host/vhost'"),
    ({"web_server": "lighttpd"}, "site blog: web_server: 'lighttpd' is not one of nginx, apache"),
    ({"webserver": "apache"}, "site blog: webserver: unknown key; did you mean 'web_server'?"),
    ({"process_manager": "supervisor"}, "site blog: process_manager: 'supervisor' is not one of systemd, supervisord"),
    ({"processes": {"web": "gunicorn"}}, "site blog: processes.web: is the application server itself; see app_server, workers and timeout"),
    ({"processes": {"Worker!": "x"}}, "site blog: processes.Worker!: is not a name of a process; use lower-case letters, digits, '-' and '_', and quotes around on, off, yes and no"),
    ({"processes": {"worker": 3}}, "site blog: processes.worker: must be a command line, a mapping with run, or false, not the number 3"),
    ({"processes": {"worker": {}}}, "site blog: processes.worker.run: is missing; it is required"),
    ({"processes": ["worker"]}, "site blog: processes: must be a mapping, not the list"),
    (
        {"schedules": [{"name": "night", "calendar": "never!", "run": "x"}]},
        "site blog: schedules[0].calendar: 'never!' is not a time like 'daily' or 'Mon..Fri 03:30'",
    ),
    (
        {"processes": {"night": "x"}, "schedules": [{"name": "night", "calendar": "daily", "run": "x"}]},
        "site blog: schedules[0].name: 'night' is there already; give it a name of its own",
    ),
    ({"database": 5}, "site blog: database: must be a mapping, not the number 5"),
    ({"database": {"name": "postgres"}}, "site blog: database.name: 'postgres' means something to PostgreSQL itself; choose another name"),
    ({"database": {"name": "pg_x"}}, "site blog: database.name: 'pg_x' means something to PostgreSQL itself; choose another name"),
    ({"collectstatic": 0}, "site blog: collectstatic: must be true, false or a management command, not 0"),
    ({"collectstatic": ""}, "site blog: collectstatic: must be true, false or a management command, not ''"),
    ({"order": ["migrate"]}, "site blog: order: must name collectstatic and migrate once each"),
    ({"order": ["migrate", 5]}, "site blog: order[1]: must be text, and YAML reads it as the number 5; put quotes around what you wrote"),
    ({"order": ["migrate", None]}, "site blog: order[1]: is empty; give it a value or remove the line"),
    ({"static": {"url": "static"}}, "site blog: static.url: 'static' must be a path like '/static/', with a slash at both ends"),
    ({"static": {"url": "/x/"}, "media": {"url": "/x/"}}, "site blog: media.url: is the same as static.url; give uploaded files a path of their own"),
    ({"media": {"root": "media"}}, "site blog: media.root: 'media' must be an absolute path"),
    ({"shared": ["../x"]}, "site blog: shared[0]: '../x' must lie inside the checkout: a relative path without '..'"),
    ({"shared": ["."]}, "site blog: shared[0]: '.' is the whole checkout; name a path in it"),
    ({"shared": [""]}, "site blog: shared[0]: '' is the whole checkout; name a path in it"),
    ({"build": [None]}, "site blog: build[0]: is empty; give it a value or remove the line"),
    ({"build": "npm ci"}, "site blog: build: must be a list, not the text 'npm ci'; write [npm ci]"),
    ({"build": [["npm", "ci"]]}, "site blog: build[0]: must be a command line, or a mapping with run and dir, not the list ['npm', 'ci']"),
    ({"health": {"path": "health"}}, "site blog: health.path: 'health' must begin with a slash"),
    ({"health": {"status": [99]}}, "site blog: health.status[0]: 99 is too small; at least 100"),
    ({"maintenance": {"pages": "x.html"}}, "site blog: maintenance.pages: unknown key; did you mean 'page'?"),
    ({"maintenance": {"page": "../x.html"}}, "site blog: maintenance.page: '../x.html' must lie inside the checkout: a relative path without '..'"),
    ({"maintenance": {"page": "/srv/../x.html"}}, "site blog: maintenance.page: '/srv/../x.html' must be an absolute path"),
    ({"maintenance": {"retry_after": 0}}, "site blog: maintenance.retry_after: 0 is too small; at least 1"),
    ({"maintenance": {"retry_after": "soon"}}, "site blog: maintenance.retry_after: must be a whole number, not the text 'soon'"),
    ({"client_max_body_size": "25 MB"}, "site blog: client_max_body_size: '25 MB' is not a size like '25m'"),
    ({"dependencies": {"add": ["rm -rf"]}}, "site blog: dependencies.add[0]: 'rm -rf' is not a requirement like 'name>=1.2'"),
    ({"checkout": {"path": "x"}}, "site blog: checkout.path: is the working copy of a repo, and this site has none; remove the line"),
    ({"checkout": {"test": ["x"]}}, "site blog: checkout.test: unknown key; did you mean 'tests'?"),
    ({"checkout": {"tests": "make test"}}, "site blog: checkout.tests: must be a list, not the text 'make test'; write [make test]"),
    ({"checkout": {"remote": "--x"}}, "site blog: checkout.remote: '--x' is not a name of a remote like 'origin'"),
    ({"checkout": {"tests": ["x"]}, "path": None, "package": "x==1", "settings": "x", "wsgi": "x"}, "site blog: checkout.tests: belong to a repo or a path; a package has none, remove them"),
    # headers
    ({"headers": []}, "site blog: headers: must be a mapping, not the list"),
    ({"headers": {"Referrer Policy": "x"}}, "site blog: headers.Referrer Policy: 'Referrer Policy' is not a name of a header like 'Referrer-Policy'"),
    ({"headers": {True: "x"}}, "site blog: headers.True: is no text; put quotes around it"),
    ({"headers": {"X-A": "a\nX-B: b"}}, "site blog: headers.X-A: must be one line of printable ASCII"),
    ({"headers": {"X-A": "$host"}}, "site blog: headers.X-A: must not have '$' or a backslash"),
    ({"headers": {"X-A": "a", "x-a": None}}, "site blog: headers.x-a: is there twice"),
    ({"headers": {"set-cookie": "a=b"}}, "site blog: headers.set-cookie: is said by the web server or the application itself; remove the line"),
    ({"headers": {"strict-transport-security": "max-age=1"}}, "site blog: headers.strict-transport-security: has keys of its own: hsts_seconds, hsts_subdomains and hsts_preload"),
    ({"page_cache": {"enabled": True}, "web_server": "apache"}, "site blog: page_cache: needs nginx, and the sites are served by apache; take it away, or choose web_server: nginx"),
    ({"page_cache": {"seconds": 0}}, "site blog: page_cache.seconds: 0 is too small; at least 1"),
    ({"page_cache": {"skip": ["/"]}}, "site blog: page_cache.skip[0]: is every page; write enabled: false, or name the paths that are not to be kept"),
    ({"page_cache": {"skip": ["admin"]}}, "site blog: page_cache.skip[0]: 'admin' must be a path like '/accounts/login/'; '*' stands for one part of it"),
    ({"page_cache": {"cookies": ["a=b"]}}, "site blog: page_cache.cookies[0]: 'a=b' is not a name of a cookie; '*' stands for any letters"),
    ({"page_cache": {"headers": ["X_A"]}}, "site blog: page_cache.headers[0]: 'X_A' is not a name of a header like 'X-Customer'"),
    ({"hsts_preload": True}, "site blog: hsts_preload: needs hsts_subdomains: true, hsts_seconds of at least 31536000 and https_redirect: true (hstspreload.org)"),
    ({"hsts_preload": True, "hsts_subdomains": True, "hsts_seconds": 300}, "site blog: hsts_preload: needs hsts_subdomains: true, hsts_seconds of at least 31536000 and https_redirect: true (hstspreload.org)"),
    # environment and files
    ({"env": []}, "site blog: env: must be a mapping, not the list"),
    ({"env": {"A": ["x"]}}, "site blog: env.A: must be text, a number, true or false, not the list"),
    ({"env": {"A-B": "x"}}, "site blog: env.A-B: is not a name of an environment variable; use letters, digits and '_'"),
    ({"env": {True: "x"}}, "site blog: env.True: is not a name of an environment variable; YAML reads it as no text, so put quotes around it"),
    ({"env": {"A": "x\ny"}}, "site blog: env.A: has a line break, which a variable cannot have; put the text into `files` and its path here"),
    ({"env": {"A": "${databxse.url}"}}, "site blog: env.A: ${databxse.url} is no value of the plan; did you mean 'database.url'? (Write $${databxse.url} for the text itself.)"),
    ({"files": [{"path": "x", "content": {"PASSWORD": "secret"}}]}, "site blog: files[0].content: must be text, not the mapping"),
    ({"files": [None]}, "site blog: files[0]: is empty; give it a value or remove the line"),
    ({"files": [{"content": "x"}]}, "site blog: files[0].path: is missing; it is required"),
    ({"files": [{"path": "x"}]}, "site blog: files[0]: give exactly one of content and src"),
    ({"files": [{"path": "../x", "content": ""}]}, "site blog: files[0].path: must not contain '..'"),
    ({"files": [{"path": "x", "content": "", "mode": 0o640}]}, "site blog: files[0].mode: must be text, and YAML reads it as the number 416; put quotes around what you wrote"),
    ({"files": [{"path": "x", "content": "", "mode": "rw"}]}, "site blog: files[0].mode: 'rw' is not an octal mode; write it like '0640'"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "expected"), CASES, ids=[text[:60] for _more, text in CASES])
def test_a_mistake(more: dict[str, Any], expected: str) -> None:
    found = errors({**site(), **more})
    assert len(found) == 1, found
    assert found[0].startswith(expected)
    assert found[0] == expected or expected.endswith("known are ")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"name": "blog"}, "django_sites: must be a list of sites, not the mapping; each begins with `- name:`"),
        ("blog", "django_sites: must be a list of sites, not the text; each begins with `- name:`"),
        (5, "django_sites: must be a list of sites, not the number; each begins with `- name:`"),
        (["blog"], "django_sites[0]: must be a mapping, not the text 'blog'; a site begins with `- name:`"),
        ([[site()]], "django_sites[0]: must be a mapping, not the list "),
        ([None], "django_sites[0]: is empty; remove the line"),
    ],
)
def test_what_is_no_list_of_sites(raw: Any, expected: str) -> None:
    sites, found = validate.sites(raw)
    assert sites == []
    assert [str(error)[: len(expected)] for error in found] == [expected]


def test_no_sites() -> None:
    assert validate.sites(None) == ([], [])
    assert validate.sites([]) == ([], [])


def test_sites_that_collide() -> None:
    assert errors(site("a"), site("a", domains=["b.example.com"])) == [
        "site a: name: two sites have this name; names are unique"
    ]
    text = "'a.example.com' belongs to site a already"
    assert errors(site("a"), site("b", domains=["A.EXAMPLE.com"])) == [f"site b: domains: {text}"]
    assert errors(site("a"), site("b", redirect_domains=["a.example.com."])) == [f"site b: redirect_domains: {text}"]
    assert errors(site("a"), site("b", database={"name": "a"})) == [
        "site b: database.name: 'a' is the database of site a already"
    ]
    assert errors(site("a"), site("b", domains=["*.example.com"])) == [
        "site b: domains[0]: the first domain is the canonical one and cannot be a wildcard"
    ]
    assert errors(site("a"), site("b", domains=["a.example.com"], state="absent")) == []


def test_all_mistakes_are_said_at_once() -> None:
    found = errors(site("a", domains=["x"]), {"name": "b", "domaines": [], "path": "/x"}, "c")
    assert [text.split(": ")[0] for text in found] == ["site a", "site b", "site b", "django_sites[2]"]


# Every key of the table --------------------------------------------------------------------------------

WRONG: dict[str, list[Any]] = {
    "str": [5, 1.5, True, [], {}, datetime.date(2026, 1, 5)],
    "scalar": [[], {}, datetime.date(2026, 1, 5)],
    "int": ["x", 1.5, True, [], {}],
    "bool": ["yes", 1, [], {}],
    "list": ["x", 5, {}],
    "dict": [5, [], True],
    "map": ["x", 5, []],
    "command": [5, [], True, {"dir": "x"}, {"run": 5}],
    "process": [5, [], True, {"hosts": "x"}, {"run": 5}],
    "any": [5, [], {}, ""],
}
# A site with something in every list and mapping, so that all keys can be reached.
FULL: dict[str, Any] = {
    **site(),
    "redirect_domains": ["www.example.com"],
    "dependencies": {"groups": ["a"], "extras": ["b"], "add": ["c>=1"]},
    "packages": {"build": ["gcc"], "run": ["libpq5"]},
    "env": {"A": "b"},
    "files": [{"path": "x", "content": "y"}],
    "build": [{"run": "npm ci", "dir": "web"}],
    "commands": {name: [{"run": "x"}] for name in ("before_collectstatic", "after_collectstatic", "before_migrate", "after_migrate", "once")},
    "order": ["collectstatic", "migrate"],
    "shared": ["data"],
    "directories": ["tmp"],
    "static": {},
    "media": {},
    "database": {"extensions": ["x"]},
    "processes": {"clock": {"run": "python clock.py"}},
    "schedules": [{"name": "night", "calendar": "03:30", "run": "python manage.py clearsessions"}],
    "health": {"status": [200]},
    "headers": {"Content-Security-Policy": "default-src 'self'"},
}  # fmt: skip


def places(
    keys: dict[str, schema.Option], value: dict[str, Any], at: tuple[Any, ...] = ()
) -> list[tuple[tuple[Any, ...], schema.Option]]:
    """Every key that can be given, with its option; also items of lists and mappings that are there."""
    found: list[tuple[tuple[Any, ...], schema.Option]] = []
    for name, option in keys.items():
        here = (*at, name)
        found.append((here, option))
        below = value.get(name)
        if option.kind == "dict":
            found += places(option.keys, below or {}, here)
        elif option.items is not None and below:
            first = 0 if option.kind == "list" else next(iter(below))
            found.append(((*here, first), option.items))
            if option.items.kind in ("dict", "process"):
                found += places(option.items.keys, below[first], (*here, first))
    return found


PLACES = places(schema.SITE, FULL)
FREE = (("env",), ("processes",), ("headers",))  # whose names are the user's own
DICTS = [
    ((), "name"),
    *((at[:-1], at[-1]) for at, _option in PLACES if isinstance(at[-1], str) and at[:-1] not in FREE),
]


def written(at: tuple[Any, ...]) -> str:
    """A place as messages write it."""
    return "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in at).lstrip(".")


def changed(at: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The full site with one value replaced."""
    result = copy.deepcopy(FULL)
    inner: Any = result
    for one in at[:-1]:
        inner = inner.setdefault(one, {}) if isinstance(inner, dict) else inner[one]
    inner[at[-1]] = value
    return result


def test_the_full_site_is_valid() -> None:
    assert errors(FULL) == []


@pytest.mark.parametrize(("at", "option"), PLACES, ids=[written(at) for at, _option in PLACES])
def test_a_wrong_type_is_said_at_its_key(at: tuple[Any, ...], option: schema.Option) -> None:
    for value in WRONG[option.kind]:
        if at == ("settings_overlay",) and value is True:
            continue
        found = errors(changed(at, value))
        label = "blog" if at != ("name",) else str(value or "number 1")
        start = f"site {label}: {written(at)}"
        assert [text for text in found if text.startswith((f"{start}: ", f"{start}.", f"{start}["))], (value, found)


@given(place=st.sampled_from(DICTS), data=st.data())
def test_a_typo_is_named_with_the_key_that_was_meant(place: tuple[tuple[Any, ...], str], data: st.DataObject) -> None:
    at, name = place
    number = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz"))
    typo = data.draw(
        st.sampled_from(
            [
                name[:number] + name[number + 1 :],
                name[:number] + letter + name[number:],
                name[:number] + letter + name[number + 1 :],
            ]
        )
    )
    siblings = {key[-1] for key, _option in PLACES if key[:-1] == at}
    assume(typo and typo not in siblings and len(name) > 3)
    found = errors(changed((*at, typo), "x"))
    start = f"site blog: {written((*at, typo))}: unknown key; did you mean '"
    assert [text for text in found if text.startswith(start)], found


@given(raw=worlds.sites(), data=st.data())
def test_a_valid_input_made_invalid_names_site_and_key(raw: list[dict[str, Any]], data: st.DataObject) -> None:
    assert errors(*raw) == []
    number = data.draw(st.integers(0, len(raw) - 1))
    wrong = raw[number]
    wrong["state"] = "present"
    mutation = data.draw(
        st.sampled_from(["name", "domains", "source", "unknown", "type", "domain", "twice", "port", "placeholder"])
    )
    where = f"site {wrong['name']}: "
    if mutation == "name":
        del wrong["name"]
        expected = f"site number {number + 1}: name: "
    elif mutation == "domains":
        del wrong["domains"]
        expected = where + "domains: "
    elif mutation == "source":
        for key in ("path", "repo", "version"):
            wrong.pop(key, None)
        expected = where + "repo: "
    elif mutation == "unknown":
        key = data.draw(st.text(min_size=1, max_size=9).filter(lambda text: text not in schema.SITE))
        wrong[key] = 1
        expected = f"{where}{key}: unknown key; "
    elif mutation == "type":
        key = data.draw(st.sampled_from(sorted(set(schema.SITE) - {"name"})))
        wrong[key] = data.draw(st.sampled_from(WRONG[schema.SITE[key].kind]))
        expected = where + key
    elif mutation == "twice":
        raw.append(dict(wrong))
        expected = where + "name: two sites"
    else:
        if mutation == "domain":
            wrong["domains"] = [
                data.draw(st.sampled_from(["x_y.example.com", "example", "-a.example.com", "a..example.com", "1.2.3"]))
            ]
            key = "domains[0]: "
        elif mutation == "port":
            wrong["redirect_domains"] = [f"{wrong['name']}.example.net:80"]
            key = "redirect_domains[0]: "
        else:
            wrong["env"] = {"X": "${" + data.draw(st.from_regex(r"[a-z.]{0,9}", fullmatch=True)) + "!}"}
            key = "env.X: "
        expected = where + key
    found = errors(*raw)
    assert [text for text in found if text.startswith(expected)], (expected, found)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*schema.SITE, "run", "path", "content", "x"]), inner), max_leaves=20))  # fmt: skip
def test_nothing_that_yaml_can_hold_is_a_crash(value: Any) -> None:
    for raw in (value, [value], [{**site(), **(value if isinstance(value, dict) else {})}]):
        _sites, found = validate.sites(raw)
        assert all(error.key and error.text for error in found)
