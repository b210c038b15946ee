#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_cluster
short_description: Load the configuration of a PostgreSQL cluster and bring its roles and databases into their state
version_added: 0.1.0
description:
  - Talks to the cluster C(main) of a Debian host as the superuser, through the unix socket, in one round trip.
  - Reloads the configuration when its files are newer than what the server has read, takes back C(ALTER SYSTEM) for the
    settings in O(config), and restarts the server only when one of these settings waits for it.
  - Of passwords only the SCRAM verifier reaches the server, so that none can end in its log.
  - Each database is closed to everybody but its owner.
options:
  version:
    description: Major version of the cluster.
    type: int
    required: true
  port:
    description: Port, which names the socket.
    type: int
    default: 5432
  config:
    description: Drop-in of postgresql.conf whose settings are to hold. By default the one of the role.
    type: path
  roles:
    description: Roles that can log in.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      password:
        description: Password; not given, the role has none.
        type: str
      createdb:
        description: Whether the role may create databases.
        type: bool
        default: false
      connection_limit:
        description: Connections at the same time; V(-1) is no limit.
        type: int
        default: -1
      member_of:
        description: Roles of which it is a member. Other memberships are revoked.
        type: list
        elements: str
        default: []
      state:
        description: V(absent) drops the role, or takes its log-in away where it still owns something.
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
      owner:
        description: Role that owns it. Needed unless the state is V(absent).
        type: str
      extensions:
        description: Extensions to create in it.
        type: list
        elements: str
        default: []
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
      - Roles beside O(roles) that may be superusers, make roles, replicate or see past row security. Any other one that may is
        dropped, or where it owns something loses these rights and cannot log in.
    type: list
    elements: str
    default: []
  other_settings:
    description:
      - Names of settings that others may make with C(ALTER SYSTEM), and with C(ALTER ROLE) and C(ALTER DATABASE) for what is declared
        here. Any other one is taken back.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Shows the statements. Where there is no server yet, all that is declared is predicted.
    support: full
  diff_mode:
    description: Shows the statements; verifiers of passwords are left out.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: A role and its database
  webstack.django.postgresql_cluster:
    version: 17
    roles:
      - name: blog
        password: "{{ lookup('webstack.django.secret', 'blog/database') }}"
    databases:
      - name: blog
        owner: blog
        extensions: [pg_trgm]
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
actions:
  description: What was, or would be, done; SQL statements without the verifiers of passwords.
  returned: always
  type: list
  elements: str
  sample: [reload, CREATE ROLE "blog" LOGIN]
overridden:
  description: Settings of O(config) that another file overrides, with the place.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import drift, postgresql, postgresql_server

_STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}
_ROLE = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "createdb": {"type": "bool", "default": False},
    "connection_limit": {"type": "int", "default": -1},
    "member_of": {"type": "list", "elements": "str", "default": []},
    "state": _STATE,
}
_DATABASE = {
    "name": {"type": "str", "required": True},
    "owner": {"type": "str"},
    "extensions": {"type": "list", "elements": "str", "default": []},
    "state": _STATE,
    "drop": {"type": "bool", "default": False},
}


def main():
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "int", "required": True},
            "port": {"type": "int", "default": 5432},
            "config": {"type": "path"},
            "roles": {"type": "list", "elements": "dict", "default": [], "options": _ROLE},
            "databases": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": _DATABASE,
                "required_if": [("state", "present", ["owner"])],
            },
            "superusers": {"type": "list", "elements": "str", "default": []},
            "other_settings": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    server = postgresql_server.Server(params["version"], params["port"], params["config"], check_mode=module.check_mode)
    server.superusers, server.kept = params["superusers"], params["other_settings"]
    try:
        postgresql.validate(params["roles"], params["databases"])
        server.load_configuration()
        warnings = server.converge(params["roles"], params["databases"])
    except postgresql.PostgresqlError as error:
        module.fail_json(msg=f"PostgreSQL {params['version']}/main: {error}", actions=server.actions)
    for warning in [*warnings, *(f"{place} overrides the role; remove that line" for place in server.overridden)]:
        module.warn(f"PostgreSQL {params['version']}/main: {warning}")
    result = {
        "changed": bool(server.actions),
        "actions": server.actions,
        "drift": drift.of(server.actions),
        "overridden": server.overridden,
    }
    if module._diff:
        result["diff"] = {"before": "", "after": "".join(f"{action}\n" for action in server.actions)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
