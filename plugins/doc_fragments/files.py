# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options that everything that writes files has in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Files, directories to prune, and checkers."""

    DOCUMENTATION = r"""
options:
  files:
    description: The files, in the order in which they are written.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path on the server.
        type: path
        required: true
      state:
        description: What is to be there. V(absent) removes whatever is there.
        type: str
        choices: [file, directory, link, absent]
        default: file
      template:
        description: A Jinja template, found like those of M(ansible.builtin.template).
        type: str
      content:
        description: The content itself.
        type: str
      src:
        description: A file on the controller, found like those of M(ansible.builtin.copy).
        type: str
      vars:
        description: More variables for this template.
        type: dict
        default: {}
      owner:
        description: User name or number.
        type: str
        default: root
      group:
        description: Group name or number.
        type: str
        default: root
      mode:
        description: Octal mode, as a string; V(0644) for files and V(0755) for directories if not given.
        type: str
      target:
        description: Where a link points to.
        type: str
      diff:
        description: Whether the content may be shown. Give V(false) for anything with a secret in it.
        type: bool
        default: true
  prune:
    description:
      - Directories in which files that are not in O(files) are removed. One that holds C(webstack.django&#58; keep) in its first 20
        lines stays.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory. Subdirectories are left alone.
        type: path
        required: true
      patterns:
        description: Shell patterns of the names that are owned.
        type: list
        elements: str
        default: ["*"]
      marker:
        description: Only files with this text in their first 20 lines.
        type: str
      keep:
        description: Names that stay, also as shell patterns.
        type: list
        elements: str
        default: []
      packaged:
        description: What is done with files that a package brought, and with links to such files.
        type: str
        choices: [remove, keep]
        default: remove
  checks:
    description: Programs that must accept the result, run in this order when something changes.
    type: list
    elements: dict
    default: []
    suboptions:
      argv:
        description: The program and its arguments.
        type: list
        elements: str
        required: true
      timeout:
        description: Seconds after which it is stopped, which counts as a refusal.
        type: int
        default: 30
      when_paths:
        description: Only when the path of a change begins with one of these.
        type: list
        elements: str
        default: []
      missing_ok:
        description: Whether the program may be missing. In check mode it always may.
        type: bool
        default: false
  services:
    description:
      - Units that are brought into their state when the files are what is declared, and live, each with the options of
        M(webstack.django.services). A unit that fails is an error; the files stay, and the next run goes on from there.
    type: list
    elements: dict
    default: []
"""
