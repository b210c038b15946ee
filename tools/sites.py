#!/usr/bin/env python3
"""Write docs/sites.md from the table that checks `django_sites` (plugins/plugin_utils/plan/schema.py).

tools/sites.py            write
tools/sites.py --check    fail where it differs
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "sites.md"
sys.path.insert(0, str(ROOT / ".collections"))

from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import SITE, Option  # noqa: E402

# The heading that begins with a key; the keys are in the order of the schema.
HEADINGS = {
    "name": "The site",
    "repo": "Where its code is",
    "project_dir": "The project",
    "dependencies": "What it is built with",
    "settings_overlay": "Settings, environment and files",
    "build": "Steps of a deployment",
    "shared": "Data, static and uploaded files",
    "database": "Database, cache and queue",
    "app_server": "Processes",
    "health": "Health and releases",
    "web_server": "Web server",
}
KINDS = {"str": "text", "int": "number", "bool": "true or false", "map": "mapping", "dict": "mapping", "scalar": "text"}
HEAD = """\
# Keys of a site

<!-- Made by tools/sites.py from plugins/plugin_utils/plan/schema.py. -->

`django_sites` is a list of sites, the same for all servers. A site needs a name, a domain and its code, nothing else:

```yaml
django_sites:
  - name: blog
    domains: [blog.example.com]
    repo: https://github.com/you/blog.git
```

"Detected" keys are found out from the project; write one only where that goes wrong. An unknown key, a value of the
wrong type, two sites with one domain and the like are said before any server is touched.
[deploying.md](deploying.md) has examples, and the placeholders `${...}` that some keys take.
"""
TAIL = """\
## Variables beside `django_sites`

| variable | what |
|---|---|
| `tls_email` | Where a certificate authority can reach you. With it, sites whose domains are all names get a certificate of Let's Encrypt. |
| `tls_acme_staging`, `tls_acme_directory` ... | Another authority: see [the role](../roles/tls/README.md). |
| `private_address` | Of a server: the address by which the other servers reach it. Without it the one of its default route. |
| `webstack_memory_mb` | Of a server: the memory to share among what it runs, in MB. Without it all that it has. |
| `webstack_master_key` | The master key of all secrets, in place of the file `webstack.key`; belongs in a vault. |
| `webstack_ignore_variables` | List of variables of yours whose names begin like those of a role. |
| `webstack_ignore_groups` | List of groups of yours whose names look like a tier's (`databases`, `webservers`). |
| options of a role | `nginx_settings`, `os_timezone` and the like, for all servers or for one: see the pages of the [roles](../README.md#roles). |
"""


def kind(option: Option) -> str:
    """The type, in words."""
    if option.choices:
        return " \\| ".join(f"`{json.dumps(one) if isinstance(one, bool) else one}`" for one in option.choices)
    if option.kind == "any":
        return "text, true or false"
    if option.kind == "map" and option.items is not None and option.items.kind == "process":
        return "mapping of names"
    if option.kind == "list" and option.items is not None:
        inner = {"dict": "mappings", "command": "commands", "int": "numbers"}.get(option.items.kind, "texts")
        return f"list of {inner}"
    return KINDS[option.kind]


def default(option: Option) -> str:
    """The default, as one would write it."""
    value: Any = option.default
    if option.required:
        return "required"
    if value is None or value == {}:
        return ""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`".replace('"', "")


def rows(key: str, option: Option) -> list[str]:
    """The row of a key, and of those below it."""
    found = [f"| `{key}` | {kind(option)} | {default(option)} | {option.help} |"]
    for name, one in option.keys.items():
        found += rows(f"{key}.{name}", one)
    if option.items is not None:
        for name, one in option.items.keys.items():
            found += rows(f"{key}.<name>.{name}" if option.kind == "map" else f"{key}[].{name}", one)
    return found


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for key, option in SITE.items():
        if key in HEADINGS:
            space = [] if len(lines) == 1 else [""]
            lines += [*space, f"## {HEADINGS[key]}", "", "| key | type | default | what |", "|---|---|---|---|"]
        lines += rows(key, option)
    return "\n".join([*lines, "", TAIL])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    differs = not PAGE.exists() or PAGE.read_text() != page()
    if check and differs:
        print("docs/sites.md differs from the schema. Run tools/sites.py to bring it up to date.")
    elif differs:
        PAGE.write_text(page())
        print("wrote docs/sites.md")
    return int(check and differs)


if __name__ == "__main__":
    sys.exit(main())
