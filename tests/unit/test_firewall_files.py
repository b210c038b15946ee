# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What fail2ban is told on a server that has a web server and no site yet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_a_log_that_a_jail_reads_is_made_before_it_starts(tmp_path: Path) -> None:
    """fail2ban does not start where a jail has no log; the sites, and their log-in pages, may come later."""
    names = ("jail.local", "fail2ban.conf")
    variables = {
        "firewall_login_logs": ["/var/log/nginx/access.log"],
        "firewall_login_pages": [],
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "__firewall_seen": {"ssh_ports": [22], "usable": True},
    }
    files = [str(ROOT / f"roles/firewall/{name}") for name in ("defaults/main.yml", "vars/main.yml")]
    tasks = [
        {
            "ansible.builtin.template": {
                "src": str(ROOT / f"roles/firewall/templates/{name}.j2"),
                "dest": str(tmp_path / name),
            }
        }
        for name in names
    ]
    play = {"hosts": "all", "gather_facts": False, "vars_files": files, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"web1": {}}, "vars": variables}}))
    (tmp_path / "extra.yml").write_text(yaml.safe_dump(variables))
    argv = [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.yml", "-e", "@extra.yml", "play.yml"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    jail = (tmp_path / "jail.local").read_text().partition("[webstack-logins]")[2]
    assert "enabled = true" in jail and "logpath = /var/log/nginx/access.log tail" in jail
    unit = (tmp_path / "fail2ban.conf").read_text()
    assert "\nExecStartPre=+/usr/local/sbin/webstack-firewall logs /var/log/nginx/access.log\n" in unit
