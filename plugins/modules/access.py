#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: access
short_description: Change what may end access to a server, and go back unless a new connection proves that it did not
version_added: 0.1.0
description:
  - Writes files as M(webstack.django.config_files) does, for settings with which one can lock oneself out (sshd, firewall).
  - Copies of the old files and a timer, which are on the disk of the server and need nothing of Ansible, put them back unless a
    new connection from the controller, as the user who converges and with become, confirms the change in time. A restart
    of the server in between puts them back as well.
  - Whether there is anything to do is decided by the state of the server. Where nothing differs, there is no other connection.
    A change that an earlier run did not confirm is put back first.
  - Where the connection is not one of ssh (with the connection V(local), for instance, by which a server converges itself), no log-in
    can be tried. An sshd that answered on the server before has to answer after the change as well, else it is put back; the timer is
    there all the same. A change of who may log in is better made from a controller first.
  - Templates have the variable C(access_user), the user who is logged in; without ssh the one that C(ansible_user) names.
extends_documentation_fragment: [webstack.django.files]
options:
  apply:
    description: Commands that make the files live, run in this order until one fails.
    type: list
    elements: list
    default: []
  undo:
    description:
      - Commands that make the old files live after they were put back; those of O(apply) if not given.
      - Their working directory has the output of O(save) in the file C(saved).
    type: list
    elements: list
    default: []
  save:
    description: A command whose output is kept for O(undo) before anything changes, such as one that lists the running rules.
    type: list
    elements: str
  live:
    description: By what it is seen that the running state is that of the files. Where one of these says no, O(apply) is run.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What the command looks at, for the report of what differs.
        type: str
      argv:
        description: A command that changes nothing and ends with 0 where the running state is that of the files.
        type: list
        elements: str
      unit:
        description: A unit of systemd that has to have started, or been reloaded, after the last change of O(live[].paths). One that is not up is left alone.
        type: str
      paths:
        description: Files, directories and shell patterns that O(live[].unit) reads.
        type: list
        elements: str
        default: []
  trial:
    description:
      - V(sshd) lets an sshd with the new files, which nobody else sees yet, take one log-in through the connection that is open,
        before anything changes. Keys, AllowUsers, algorithms and sudo are tried that way.
      - Not possible where the kernel permits no private view of the files, and where rules about addresses decide who gets in.
    type: str
    choices: [none, sshd]
    default: none
  port:
    description: The port at which sshd takes connections after the change. Not given, it stays what it is.
    type: int
  connect_port:
    description: The port to which the controller connects to get to O(port), where something forwards ports.
    type: int
  seconds:
    description: Seconds until the timer puts the old files back.
    type: int
    default: 60
  hint:
    description: What to do about a failure, for the error message.
    type: str
    default: ""
attributes:
  check_mode:
    description: Predicts exactly what would change, including what a checker would say. A new connection is not tried.
    support: full
  diff_mode:
    description: Shows a diff for each file unless the file says otherwise.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Configure sshd; nobody locks themselves out
  webstack.django.access:
    files:
      - path: /etc/ssh/sshd_config.d/00-example.conf
        content: |
          PasswordAuthentication no
          AllowUsers deploy
    checks:
      - argv: [sshd, -t]
    trial: sshd
    apply:
      - [systemctl, reload, ssh.service]
    live:
      - unit: ssh.service
        paths: [/etc/ssh/sshd_config, /etc/ssh/sshd_config.d]

- name: Load rules of a firewall
  webstack.django.access:
    files:
      - path: /etc/nftables.conf
        template: nftables.conf.j2
    checks:
      - argv: [nft, -c, -f, /etc/nftables.conf]
    save: [sh, -c, "echo flush ruleset; nft list ruleset"]
    apply: [[nft, -f, /etc/nftables.conf]]
    undo: [[nft, -f, saved]]
    live:
      - argv: [/usr/local/lib/webstack/firewall-is-loaded]
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
changed_paths:
  description: What was, or would be, changed.
  returned: always
  type: list
  elements: str
not_live:
  description: Why the running state was not that of the files.
  returned: always
  type: list
  elements: str
undone:
  description: Whether a change of an earlier run, which nobody had confirmed, was (or would be) put back first.
  returned: always
  type: bool
trial:
  description: V(passed), or why there was none.
  returned: when O(trial) was asked for and something changed
  type: str
proof:
  description: What confirmed the change, V(connection) or V(no).
  returned: when something changed
  type: str
connect_port:
  description: The port to which new connections go from now on.
  returned: when it is another one than before
  type: int
"""
