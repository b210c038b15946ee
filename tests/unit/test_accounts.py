# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which accounts ansible.builtin.user is called for. What it then does is for the scenario of the role os."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils import accounts

SAID = """\
ada:x:1000:1000:Ada,,,:/home/ada:/bin/bash
blog:x:998:998::/srv/blog:/usr/sbin/nologin
bob:x:1001:1001::/home/bob:/bin/bash
root:x:0:
ada:x:1000:
sudo:x:27:ada,bob
adm:x:4:ada
bob:x:1001:bob
gone /home/bob
"""


def account(name: str, **more: Any) -> dict[str, Any]:
    given = {"name": name, "state": "present", "system": False, "home": f"/home/{name}", "shell": "/bin/bash"}
    return {**given, "groups": None, **more}


@pytest.mark.parametrize(
    ("declared", "holds"),
    [
        (account("ada"), True),
        (account("ada", groups=["adm", "sudo"]), True),
        (account("ada", groups=["adm", "sudo", "ada"]), True),  # its own, which nobody has to name
        (account("ada", groups=["sudo"]), False),
        (account("ada", groups=["sudo", "adm", "docker"]), False),
        (account("ada", groups=[]), False),
        (account("ada", shell="/bin/sh"), False),
        (account("ada", home="/srv/ada"), False),
        (account("ada", state="absent"), False),
        (account("bob"), False),  # its home is gone
        (account("bob", system=True, groups=["sudo"]), True),
        (account("blog", system=True, home="/srv/blog", shell="/usr/sbin/nologin"), True),
        (account("eve"), False),
        (account("eve", state="absent"), True),
    ],
)
def test_who_differs(declared: dict[str, Any], holds: bool) -> None:
    assert accounts.differ([declared], SAID) == ([] if holds else [declared])


def test_what_is_asked_is_what_is_read() -> None:
    here = [account("root", home="/root"), account("it's gone", home="/no such/$(home)")]
    said = subprocess.run(["sh", "-c", accounts.query(here)], capture_output=True, text=True, check=False).stdout
    assert said.startswith("root:") and said.endswith("gone /no such/$(home)\n")
    assert [one["name"] for one in accounts.differ(here, said)] == ["it's gone"]
