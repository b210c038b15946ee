#!/usr/bin/env python3
"""Write what follows from a role's meta/argument_specs.yml: defaults/main.yml and the tables of README.md.

    tools/spec.py            write
    tools/spec.py --check    fail with a diff where they differ

The README's example holds the variables of the role's Molecule scenario, so it is run by every test.
Entry points beside `main` (`tasks_from`) have a table of their own; the defaults hold the options of all.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- {0}: made by tools/spec.py -->", "<!-- end of {0} -->"


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, as yamllint and people want them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


def _text(description: Any) -> str:
    lines = description if isinstance(description, list) else [description]
    return " ".join(" ".join(str(line).split()) for line in lines)


def _plain(text: str) -> str:
    """Ansible's markup as Markdown."""
    return re.sub(r"\b[A-Z]\(([^)]*)\)", r"`\1`", text)


def defaults(role: str, options: dict[str, Any]) -> str:
    """The defaults file: every option that need not be given, with its description."""
    parts = ["---", f"# Defaults of webstack.django.{role}. Made by tools/spec.py from meta/argument_specs.yml."]
    for name, option in options.items():
        comment = textwrap.wrap(_text(option["description"]), 108)
        body = f"# {name}:" if option.get("required") else _dump({name: option.get("default")}).rstrip()
        parts.append("\n".join(["", *(f"# {line}" for line in comment), body]))
    return "\n".join(parts) + "\n"


def _rows(options: dict[str, Any], prefix: str = "") -> list[str]:
    rows = []
    for name, option in options.items():
        kind = option.get("type", "str")
        if "elements" in option:
            kind = f"list of {option['elements']}"
        if "default" in option:
            shown = yaml.safe_dump(option["default"], default_flow_style=True, width=10000)
            value = "`" + shown.replace("\n...", "").strip() + "`"
        else:
            value = "required" if option.get("required") else ""
        text = _plain(_text(option["description"]))
        if "choices" in option:
            text += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        cells = (f"`{prefix}{name}`", kind, value, text)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        if "options" in option:
            suffix = "[]." if kind.startswith("list") else "."
            rows += _rows(option["options"], f"{prefix}{name}{suffix}")
    return rows


def table(options: dict[str, Any]) -> str:
    """The option table in Markdown."""
    return "\n".join(["| option | type | default | what |", "|---|---|---|---|", *_rows(options)])


def example(role: str) -> str:
    """A play with the variables that the role's scenario really uses."""
    path = ROOT / "molecule" / role / "molecule.yml"
    scenario = yaml.safe_load(path.read_text()) if path.exists() else {}
    groups = scenario.get("provisioner", {}).get("inventory", {}).get("group_vars", {})
    own = {name: value for name, value in (groups.get("all") or {}).items() if name.startswith(f"{role}_")}
    variables = _dump(own).replace("$$", "$").rstrip() if own else ""
    play = ["- hosts: all", "  become: true", "  roles:", f"    - role: webstack.django.{role}"]
    if variables:
        play += ["      vars:", textwrap.indent(variables, " " * 8)]
    return "```yaml\n" + "\n".join(play) + "\n```"


def _between(text: str, name: str, body: str) -> str:
    begin, end = BEGIN.format(name), END.format(name)
    block = f"{begin}\n\n{body}\n\n{end}"
    if begin in text and end in text:
        before, rest = text.split(begin, 1)
        return before + block + rest.split(end, 1)[1]
    return f"{text.rstrip()}\n\n{block}\n"


def _entry(name: str, spec: dict[str, Any]) -> str:
    """What an entry point beside `main` is for, and its options."""
    intro = textwrap.fill(f"`tasks_from: {name}`: " + _plain(_text(spec["description"])), 110)
    return f"{intro}\n\n{table(spec.get('options', {}))}"


def readme(role: str, specs: dict[str, dict[str, Any]], old: str) -> str:
    """The README with fresh tables; what people wrote outside the markers stays."""
    spec = specs["main"]
    if not old:
        description = spec.get("description") or spec["short_description"]
        lines = description if isinstance(description, list) else [description]
        paragraphs = "\n\n".join(textwrap.fill(_plain(_text(line)), 110) for line in lines)
        old = f"# webstack.django.{role}\n\n{paragraphs}\n\n## Example\n"
    text = _between(old, "example", example(role))
    if BEGIN.format("options") not in text:
        text = text.rstrip() + "\n\n## Options\n"
    text = _between(text, "options", table(spec.get("options", {})))
    for name in sorted(specs.keys() - {"main"}):
        text = _between(text, f"options of {name}", _entry(name, specs[name]))
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    differs = False
    for specs in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        directory = specs.parent.parent
        entries = yaml.safe_load(specs.read_text())["argument_specs"]
        options = dict(entries["main"].get("options", {}))
        for spec in entries.values():
            for name, option in spec.get("options", {}).items():
                options.setdefault(name, option)
        readme_path = directory / "README.md"
        old_readme = readme_path.read_text() if readme_path.exists() else ""
        wanted = {
            directory / "defaults" / "main.yml": defaults(directory.name, options),
            readme_path: readme(directory.name, entries, old_readme),
        }
        for path, text in wanted.items():
            found = path.read_text() if path.exists() else ""
            if found == text:
                continue
            differs = True
            if check:
                name = str(path.relative_to(ROOT))
                diff = difflib.unified_diff(
                    found.splitlines(), text.splitlines(), name, "from the argument specs", "", ""
                )
                print("\n".join(diff))
            else:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
                print(f"wrote {path.relative_to(ROOT)}")
    if check and differs:
        print("Run tools/spec.py to bring these files up to date.")
    return int(check and differs)


if __name__ == "__main__":
    sys.exit(main())
