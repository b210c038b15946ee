# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Application servers in the files of the roles nginx and apache."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.module_utils import vhosts
from ansible_collections.webstack.django.plugins.module_utils.vhosts import WEB_SERVERS, Vhost, VhostError, find

SOCKET = "/run/webstack/blog/web.sock"
ADDRESSES = ["10.0.0.4:8001", "[fd00::5]:8001", SOCKET, "10.0.0.7:8001"]


def nginx(flags: str = vhosts.DRAINED, addresses: list[str] = ADDRESSES, most: int = 2) -> str:
    """What the role nginx writes."""
    text = "# server 10.0.0.9:1;\n"
    numbers = range(1, len(addresses) + 1)
    for out in [without for size in range(most + 1) for without in combinations(numbers, size)]:
        text += f"upstream webstack{''.join(f'-without-{number}' for number in out)}_blog {{\n"
        for number, address in enumerate(addresses, 1):
            if number not in out:
                unix = "unix:" if address.startswith("/") else ""
                text += f"    server {unix}{address} max_fails=2 fail_timeout=5s;\n"
        text += "}\n\n"
    text += "server {\n"
    text += "".join(f'    if (-f "{flags}/blog:{number}") {{ }}\n' for number in numbers if most)
    return text + "}\n"


def apache(flags: str = vhosts.DRAINED, most: int = 2) -> str:
    """What the role apache writes."""
    text = '<VirtualHost *:443>\n    ProxyPass "/static/" "!"\n'
    for out in [without for size in range(most + 1) for without in combinations(range(1, 5), size)]:
        text += f'    <Proxy "balancer://webstack{"".join(f"_without_{number}" for number in out)}-blog">\n'
        text += "        ProxySet lbmethod=byrequests\n"
        for number, address in enumerate(ADDRESSES, 1):
            if number not in out:
                unix = address.startswith("/")
                url = f"unix:{address}|uwsgi://blog-{number}.webstack.invalid" if unix else f"http://{address}"
                text += f'        BalancerMember "{url}" disablereuse=On retry=5\n'
        text += "    </Proxy>\n"
    text += "".join(f"    SetEnvIfExpr \"-f '{flags}/blog:{number}'\" x=y\n" for number in range(1, 5) if most)
    return (
        text + '    ProxyPass "/" "balancer://webstack${webstack:without}-blog/" interpolate nocanon\n</VirtualHost>\n'
    )


ONE = """\
<VirtualHost *:443>
    ProxyPass "/static/" "!"
    ProxyPass "/" "{}/" nocanon disablereuse=On retry=0
</VirtualHost>
"""
TWICE = pytest.mark.parametrize("number", [0, 1], ids=["nginx", "apache"])


@pytest.fixture(autouse=True)
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the files that drain."""
    directory = tmp_path / "flags"
    directory.mkdir()
    monkeypatch.setattr(vhosts, "DRAINED", str(directory))
    return directory


def vhost(number: int, text: str = "", most: int = 2) -> Vhost:
    return Vhost("blog", WEB_SERVERS[number], "/etc/x.conf", text or (nginx, apache)[number](vhosts.DRAINED, most=most))


def active(servers: list[vhosts.Server]) -> list[str]:
    return [one.address for one in servers if one.active]


@TWICE
def test_all_servers_are_found(number: int, flags: Path) -> None:
    (flags / "blog:2").touch()
    (flags / "other:1").touch()
    found = [(one.number, one.address, one.active) for one in vhost(number).servers()]
    assert found == [(n, address, n != 2) for n, address in enumerate(ADDRESSES, 1)]


@TWICE
def test_another_site_has_other_servers(number: int) -> None:
    text = vhost(number).text.replace("_blog", "_blogs").replace("-blog", "-blogs")
    assert vhost(number, text).servers() == []


@TWICE
@pytest.mark.parametrize("address", ["10.0.0.4:8001", SOCKET, f"unix:{SOCKET}"])
def test_a_server_goes_and_comes_back(number: int, address: str, flags: Path) -> None:
    one = vhost(number)
    place = ADDRESSES.index(address.removeprefix("unix:")) + 1
    rest = [other for other in ADDRESSES if other != address.removeprefix("unix:")]
    assert active(one.switched(address, False)) == rest
    assert active(one.switched(address, True)) == ADDRESSES
    (flags / f"blog:{place}").touch()
    assert active(one.switched(address, False)) == rest
    assert active(one.switched(address, True)) == ADDRESSES
    assert active(one.switched(ADDRESSES[1], True)) == rest


@TWICE
def test_two_at_a_time(number: int, flags: Path) -> None:
    (flags / "blog:4").touch()
    assert active(vhost(number).switched(ADDRESSES[1], False)) == [ADDRESSES[0], SOCKET]
    (flags / "blog:2").touch()
    with pytest.raises(VhostError) as error:
        vhost(number).switched(ADDRESSES[0], False)
    assert str(error.value).endswith(
        "10.0.0.4:8001 is not drained, since so many cannot be at the same time; bring one of these back first "
        "(state: active): [fd00::5]:8001, 10.0.0.7:8001"
    )


@TWICE
def test_what_another_run_left_comes_back(number: int, flags: Path) -> None:
    for name in ("blog:2", "blog:4"):
        (flags / name).touch()
    one = vhost(number)
    assert active(one.switched(ADDRESSES[0], False, [ADDRESSES[0]])) == ADDRESSES[1:]
    assert active(one.switched(ADDRESSES[0], False, [ADDRESSES[0], ADDRESSES[3]])) == ADDRESSES[1:3]
    assert active(one.switched(ADDRESSES[1], True, [ADDRESSES[0]])) == ADDRESSES[:3]


def test_the_last_one_stays(flags: Path) -> None:
    one = vhost(0, nginx(str(flags), ADDRESSES[:2], 1))
    (flags / "blog:2").touch()
    with pytest.raises(VhostError, match=r"site blog: 10\.0\.0\.4:8001 is the last application server that gets"):
        one.switched("10.0.0.4:8001", False)
    assert active(one.switched("10.0.0.4:8001", False, ["10.0.0.4:8001"])) == [ADDRESSES[1]]


@TWICE
def test_a_virtual_host_of_an_older_version(number: int) -> None:
    old = vhost(number, most=0)
    with pytest.raises(
        VhostError, match=r"site blog: its virtual host /etc/x.conf knows no draining; run the playbook"
    ):
        old.switched("10.0.0.4:8001", False)
    assert active(old.switched("10.0.0.4:8001", True)) == ADDRESSES


@pytest.mark.parametrize("url", ["http://127.0.0.1:8001", f"unix:{SOCKET}|uwsgi://blog-1.webstack.invalid"])
def test_apache_has_no_balancer_for_one_server(url: str, flags: Path) -> None:
    address = SOCKET if SOCKET in url else "127.0.0.1:8001"
    one = vhost(1, ONE.format(url))
    (flags / "blog:1").touch()  # of a time when there were two
    assert one.servers() == one.switched(address, True) == [vhosts.Server(1, address, True)]
    with pytest.raises(VhostError, match="the last application server"):
        one.switched(address, False)


@TWICE
def test_an_unknown_server(number: int) -> None:
    with pytest.raises(VhostError) as error:
        vhost(number).switched("10.0.0.4:8002", False)
    assert str(error.value).startswith("site blog: address '10.0.0.4:8002' is not one of its application servers in")
    assert f"there are: {', '.join(ADDRESSES)}" in str(error.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for web, text in zip(WEB_SERVERS, (nginx(), apache())):
        file = tmp_path / web.file.format("blog")[1:]
        file.parent.mkdir(parents=True)
        file.write_text(text)
        file.with_name("00-default.conf").write_text("")
    return tmp_path


@TWICE
def test_the_web_server_that_runs_counts(root: Path, number: int) -> None:
    found = find("blog", lambda unit: unit == WEB_SERVERS[number].unit, str(root))
    assert (found.web, found.text) == (WEB_SERVERS[number], (nginx, apache)[number]())


def test_none_runs(root: Path) -> None:
    assert find("blog", lambda unit: False, str(root)).web == WEB_SERVERS[0]


@pytest.mark.parametrize("name", ["shop", "../../etc/passwd", "b*", ""])
def test_a_site_that_is_not_there(root: Path, name: str) -> None:
    with pytest.raises(VhostError) as error:
        find(name, lambda unit: True, str(root))
    assert f"site {name}: this server has no virtual host of it (there are: blog)" in str(error.value)
