#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: mariadb_server
short_description: Bring the accounts and databases of a MariaDB server into their state
version_added: 0.1.0
description:
  - Talks to the server of this host as root, through the unix socket and with its own client, in one round trip for all
    accounts and databases. It needs no Python driver, so that it works in check mode on a bare host.
  - Of passwords only the hash reaches the server, so that none can end in its log.
  - An account has all rights on its databases and no other right. Accounts and databases that are not listed stay, but
    for what an installation may leave open to everybody - accounts without a name, and the database C(test) when it is
    empty. The account C(root) comes through the socket only.
options:
  socket:
    description: Unix socket of the server.
    type: path
    default: /run/mysqld/mysqld.sock
  collation:
    description: Collation of new databases, whose character set is utf8mb4.
    type: str
    default: utf8mb4_uca1400_ai_ci
  users:
    description: Accounts.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      host:
        description: Host that it comes from.
        type: str
        default: localhost
      auth:
        description: V(socket) lets the operating system's user of the same name in. V(password) asks for the password.
        type: str
        choices: [socket, password]
        default: socket
      password:
        description: Password, for V(password).
        type: str
      tls:
        description: Whether it is let in by TLS only.
        type: bool
        default: false
      databases:
        description: Databases on which it has all rights.
        type: list
        elements: str
        default: []
      state:
        description: V(absent) drops the account.
        type: str
        choices: [present, absent]
        default: present
  databases:
    description: Databases.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      state:
        description: V(absent) keeps the database unless O(databases[].drop) is set as well.
        type: str
        choices: [present, absent]
        default: present
      drop:
        description: With the state V(absent), delete it and all that is in it.
        type: bool
        default: false
  superusers:
    description:
      - Accounts beside O(users) that may have rights to change all databases. Any other one loses them and is locked.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Shows the statements. Where there is no server yet, all that is declared is predicted.
    support: full
  diff_mode:
    description: Shows the statements; hashes of passwords are left out.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: An account and its database
  webstack.django.mariadb_server:
    databases:
      - name: blog
    users:
      - name: blog
        databases: [blog]
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
actions:
  description: What was, or would be, done; SQL statements without the hashes of passwords.
  returned: always
  type: list
  elements: str
  sample: ["CREATE USER 'blog'@'localhost' IDENTIFIED VIA unix_socket"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import drift, mariadb, mariadb_server

_STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}
_USER = {
    "name": {"type": "str", "required": True},
    "host": {"type": "str", "default": "localhost"},
    "auth": {"type": "str", "choices": ["socket", "password"], "default": "socket"},
    "password": {"type": "str", "no_log": True},
    "tls": {"type": "bool", "default": False},
    "databases": {"type": "list", "elements": "str", "default": []},
    "state": _STATE,
}
_DATABASE = {
    "name": {"type": "str", "required": True},
    "state": _STATE,
    "drop": {"type": "bool", "default": False},
}


def main():
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
            "collation": {"type": "str", "default": "utf8mb4_uca1400_ai_ci"},
            "users": {"type": "list", "elements": "dict", "default": [], "options": _USER},
            "databases": {"type": "list", "elements": "dict", "default": [], "options": _DATABASE},
            "superusers": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    server = mariadb_server.Server(params["socket"], params["collation"], check_mode=module.check_mode)
    server.superusers = params["superusers"]
    try:
        mariadb.validate(params["users"], params["databases"])
        warnings = server.converge(params["users"], params["databases"])
    except mariadb.MariadbError as error:
        module.fail_json(msg=f"MariaDB: {error}", actions=server.actions)
    for warning in warnings:
        module.warn(f"MariaDB: {warning}")
    result = {"changed": bool(server.actions), "actions": server.actions, "drift": drift.of(server.actions)}
    if module._diff:
        result["diff"] = {"before": "", "after": "".join(f"{action}\n" for action in server.actions)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
