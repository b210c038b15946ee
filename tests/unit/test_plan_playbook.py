# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/plan.yml as users run it, with inventories that are wrong and one that is right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEY = "k" * 40
# Nobody listens there: a run that tries to reach it says "unreachable".
AWAY = "{ansible_host: 127.0.0.1, ansible_port: 1}"
HERE = f"{{ansible_connection: local, ansible_python_interpreter: {sys.executable}}}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    (root / "shop").mkdir(parents=True)
    (root / "manage.py").write_text('import django\nx.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n')
    (root / "shop/settings.py").write_text("")
    (root / "shop/wsgi.py").write_text("")
    (root / "requirements.txt").write_text("Django\n")
    return root


def plan(tmp_path: Path, inventory: str, *words: str) -> tuple[int, str]:
    """Status and output of the playbook."""
    file = tmp_path / "hosts.yml"
    file.write_text(inventory)
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "WEBSTACK_MASTER_KEY": KEY,
    }
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [program, "-i", file, *words, ROOT / "playbooks/plan.yml"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def mistakes(output: str) -> list[str]:
    """The lines of the message, without what YAML's output puts around them."""
    assert "no server was touched" in output, output
    assert "nreachable" not in re.sub(r"unreachable=0", "", output)
    lines = (line.strip() for line in output.split("no server was touched:", 1)[1].splitlines()[1:])
    found = []
    for line in lines:
        if not line.startswith("- "):
            break
        found.append(line[2:])
    return found


def test_everything_that_is_wrong_is_said_before_a_server_is_touched(tmp_path: Path, project: Path) -> None:
    status, output = plan(
        tmp_path,
        f"""
all:
  hosts: {{web1: {AWAY}, web2: {AWAY}}}
  children:
    databases: {{hosts: {{web2: }}}}
  vars:
    mail: x
    nginx_sits: []
    webstack_memory_mb: 2G
    redis_implementation: keydb
    os_users: [{{name: ada, keyz: []}}]
    os_hostname: "{{{{ ansible_facts.distribution }}}}"
    django_sites:
      - name: blog
        domains: ["{{{{ nowhere }}}}", blog.example.com]
        path: {project}
        env: {{A: "{{{{ mail }}}}", B: "{{{{ mail | no_such_filter }}}}"}}
      - name: shop
        domains: shop.example.com
        path: {project}
        version: 1.10
      - {{name: gone, domains: [gone.example.com], path: "{tmp_path}/gone"}}
      - {{name: lost, domains: [lost.example.com], path: "{{{{ lost }}}}"}}
""",
    )
    assert status != 0
    # What Ansible itself says of a filter differs between its versions.
    assert [text.partition(" Syntax error")[0] for text in mistakes(output)] == [
        "nginx_sits: the role nginx has no such option; did you mean 'nginx_sites'? If it is a variable of yours, list it in webstack_ignore_variables.",
        "group databases: is no tier; did you mean 'database'? If it is a group of yours, list it in webstack_ignore_groups.",
        "site blog: domains[0]: a template in it cannot be resolved: 'nowhere' is undefined",
        "site blog: env.B: a template in it cannot be resolved:",
        "site lost: path: a template in it cannot be resolved: 'lost' is undefined",
        "site shop: domains: must be a list, not the text 'shop.example.com'; write [shop.example.com]",
        "site shop: version: must be text, and YAML reads it as the number 1.1; put quotes around what you wrote",
        "os_users: unknown: os_users.keyz. Supported parameters include: groups, home, keys, name, shell, state, sudo.",
        "redis_implementation: value of redis_implementation must be one of: redis, valkey, got: keydb",
        "webstack_memory_mb of web1: must be a number of MB, at least 256, not the text '2G'",
        "webstack_memory_mb of web2: must be a number of MB, at least 256, not the text '2G'",
        f"site gone: path: '{tmp_path}/gone' is no directory on this machine; give the directory of the project",
    ]


def test_servers_whose_address_a_run_does_not_know(tmp_path: Path, project: Path) -> None:
    inventory = f"""
all:
  children:
    database: {{hosts: {{db1: {HERE}}}}}
    app: {{hosts: {{app1: {HERE}}}}}
    web: {{hosts: {{app1: }}}}
    cache: {{hosts: {{app1: }}}}
  vars:
    django_sites: [{{name: blog, domains: [blog.example.com], path: {project}}}]
"""
    status, output = plan(tmp_path, inventory, "--limit", "app1")
    assert status != 0
    assert mistakes(output) == [
        "private_address of db1: is not known, since this run leaves that server out; set it, or run without --limit"
    ]


def test_what_the_roles_refuse_is_said_before_a_server_is_changed(tmp_path: Path, project: Path) -> None:
    """Facts are known here, and so is what depends on them; the roles' own preflights come as words of the plan."""
    inventory = f"""
all:
  hosts: {{web1: {HERE}}}
  vars:
    os_hostname: "{{{{ ansible_facts.distribution }}}}.{{{{ ansible_facts.nothing }}}}"
    sshd_port: 65536
    python_uv_version: latest
    django_sites: [{{name: blog, domains: [blog.example.com], path: {project}}}]
"""
    status, output = plan(tmp_path, inventory)
    assert status != 0
    [template] = mistakes(output)
    assert template.startswith("os_hostname: a template in it cannot be resolved: ")
    assert template.endswith("'nothing'")
    status, output = plan(tmp_path, inventory, "-e", "os_hostname=web1")
    assert status != 0
    assert mistakes(output) == [
        "sshd: sshd_port: 65536 is no port; give a number from 1 to 65535",
        'python: python_uv_version: latest is no version; write it in quotes, like "0.13.9"',
    ]


def test_the_plan_is_printed_without_secrets(tmp_path: Path, project: Path) -> None:
    inventory = f"""
all:
  hosts: {{web1: {HERE}}}
  vars:
    django_sites:
      - {{name: blog, domains: [blog.example.com], path: {project}, env: {{TOKEN: hunter2-hunter2}}, database: {{over: tcp}}}}
"""
    status, output = plan(tmp_path, inventory, "-vvv")
    assert status == 0, output
    for line in (
        "name: blog-web",
        "path: /run/webstack/blog/web.sock",
        "wsgi: shop.wsgi:application",
        "TOKEN: '********'",
    ):
        assert line in output
    assert "postgres://blog:********@127.0.0.1:5432/blog" in output
    assert "changed=0" in output
    for secret in (KEY, "hunter2"):
        assert secret not in output
