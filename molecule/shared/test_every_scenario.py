"""What holds after every converge, whatever the scenario."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_check_predicts_nothing(playbook: Callable[..., Any]) -> None:
    run = playbook(check=True)
    assert run.rc == 0, run.output
    assert run.changed == 0, run.output


def test_no_failed_unit(host: Any) -> None:
    assert host.check_output("systemctl --failed --plain --no-legend") == ""


# Content that must not be readable by everybody: private keys and lines that give a secret a value.
SECRET = r"PRIVATE KEY-----|^[[:space:]#]*[a-z_]*(password|passwd|secret|secret_key|requirepass|masterauth)[[:space:]]*[=:[:space:]][[:space:]]*[^[:space:]]"


def test_no_secret_is_readable_by_others(host: Any) -> None:
    ours = host.run(
        "find /etc /opt/webstack /srv /var/lib/webstack -xdev -type f -perm -o=r -newer /etc/machine-id "
        "-not -path '*/site-packages/*' -not -path '*/.git/*' -not -path '*/ssl/certs/*' -size -200k "
        f"-exec grep -liE '{SECRET}' {{}} + 2>/dev/null | xargs -r grep -lF webstack.django"
    )
    assert ours.stdout == ""


def test_files_say_who_wrote_them(host: Any) -> None:
    """Everything that names one of our roles begins with Ansible's header."""
    without = host.run(
        "grep -rlIE 'webstack\\.django\\.[a-z_]+' /etc 2>/dev/null | xargs -r grep -L 'Ansible managed'"
    )
    assert without.stdout == ""
