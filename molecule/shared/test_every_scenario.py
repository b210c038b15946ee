"""What holds after every converge, whatever the scenario."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Files made since the machine booted, outside libraries, that a user without any rights can read.
READABLE = (
    "runuser -u nobody -- find /etc /home /opt /run /srv /tmp /var -xdev -type f -readable "
    "-newer /etc/machine-id -size -200k "
    "-not -path '*/site-packages/*' -not -path '*/node_modules/*' -not -path '/etc/ssl/certs/*'"
)


def test_check_predicts_nothing(playbook: Callable[..., Any]) -> None:
    run = playbook(check=True)
    assert run.rc == 0, run.output
    assert run.changed == 0, run.output


def test_no_failed_unit(host: Any) -> None:
    assert host.check_output("systemctl --failed --plain --no-legend") == ""


def test_private_keys_are_private(host: Any) -> None:
    found = host.run(READABLE + r" -exec grep -lI -e '-----BEGIN .*PRIVATE KEY-----' {} + 2>/dev/null")
    assert found.stdout == ""


def test_passwords_are_private(host: Any) -> None:
    """No line of a file of ours gives a value to something that is called password, secret or the like."""
    secret = r"(^|[^[:alnum:]])[a-z_]*(password|passwd|secret|secret_key|requirepass|masterauth)"
    value = r"[\"']?[[:space:]]*[=: ]+[[:space:]]*[\"']?[^[:space:]\"'{}]{6}"
    ours = READABLE + " -exec grep -lIF -e webstack. {} + 2>/dev/null"
    found = host.run(ours + " | runuser -u nobody -- xargs -r grep -iHE -e %s", secret + value)
    assert found.stdout == ""


def test_files_say_who_wrote_them(host: Any) -> None:
    """Everything that names one of our roles has Ansible's header."""
    found = host.run(r"grep -rlIE 'webstack\.django\.[a-z_]+' /etc 2>/dev/null | xargs -r grep -L 'Ansible managed'")
    assert found.stdout == ""


def test_only_declared_ports_are_open(host: Any, variables: dict[str, Any]) -> None:
    """What listens beyond the machine itself is in `scenario_ports` (default: SSH, HTTP, HTTPS)."""
    numeric = host.check_output("ss -Hlntu | awk '{print $5}'").split()
    assert numeric, "ss shows no listening socket, not even sshd's"
    remote = {int(text.rsplit(":", 1)[1]) for text in numeric if not text.startswith(("127.", "[::1]"))}
    assert remote <= set(variables.get("scenario_ports", [22, 80, 443]))
