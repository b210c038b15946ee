# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``releases/<id>/run/<process>``: how a release starts its processes.

A release brings its own way to be started, so a switch to another program (gunicorn, uWSGI) is complete with the switch
of the release, and so is the way back.
"""

from __future__ import annotations

import os
import re

from ansible_collections.webstack.django.plugins.module_utils.release.site import POOLED, Site

VARIABLES = ("PATH", "VIRTUAL_ENV")  # that the scripts set
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_SCRIPT = """\
#!/bin/sh
{header}export VIRTUAL_ENV={venv} PATH={venv}/bin:/usr/local/bin:/usr/bin:/bin
{pooled}{line}
"""
# While the site has a connection pooler; a release that was made then serves without one as well.
_THROUGH = """\
for name in $(env | sed -n 's/^%s\\([A-Za-z_][A-Za-z0-9_]*\\)=.*/\\1/p'); do
  eval "export $name=\\"\\$%s$name\\""
done
""" % (POOLED, POOLED)
# What `exec` cannot start: it is the shell's own (POSIX 2.14, and what it reserves).
_OWN_WORDS = frozenset(
    "! . : alias bg break case cd command continue eval exec exit export for getopts hash if read readonly return set "
    "shift times trap type ulimit umask unalias unset until wait while { source".split()
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def scripts(site: Site, header: str) -> dict[str, str]:
    """Name and text of each script."""
    result = {}
    for name, line in (site["processes"] or {}).items():
        if not _NAME.fullmatch(str(name)):
            raise site.error(
                "prepare", "processes: %r is no name of a process" % name, "use letters, digits, '-' and '_'"
            )
        try:
            text = shell_line(str(line))
        except ValueError as error:
            raise site.error(
                "prepare", "processes.%s: %s: %s" % (name, error, line), "correct the command line"
            ) from error
        through = site.pooled and name not in (site["pooled"].get("past") or [])
        result[str(name)] = _SCRIPT.format(header=header, venv=site.venv, pooled=_THROUGH if through else "", line=text)
    return result


def shell_line(line: str) -> str:
    """A command line for the shell, which the program itself takes the place of, so that signals reach it.

    Plain words, and the last of several commands joined by ``&&``, are exec'ed. What needs the shell until its end (a
    pipe, ``;``, ``||``, ``&``, a group) stays as it is.

    Raises:
        ValueError: there is nothing to run, or a quote is not closed.
    """
    line = line.strip()
    parts = _parts(line)
    if parts is None:
        return line
    last = parts[-1].strip()
    if not all(part.strip() for part in parts):
        raise ValueError("a command is missing")
    first = last.split()[0]
    if first in _OWN_WORDS:
        return line
    start = line[: len(line) - len(parts[-1].lstrip())]
    # `exec A=1 program` would look for a program of that name.
    return start + ("exec env " if _ASSIGNMENT.match(first) else "exec ") + last


def _parts(line: str) -> list[str] | None:
    """The commands between ``&&``; None where the line needs a shell until its end."""
    parts = [""]
    quote = ""
    depth = 0  # of $(...)
    position = 0
    plain = True
    while position < len(line):
        one, two = line[position], line[position : position + 2]
        width = 1
        if quote:
            if one == "\\" and quote == '"':
                width = 2
            elif one == quote:
                quote = ""
        elif one in "'\"":
            quote = one
        elif one == "\\":
            width = 2
        elif two == "$(" or (depth and one == "("):
            depth, width = depth + 1, len(two) if one == "$" else 1
        elif depth:
            depth -= one == ")"
        elif two == "&&":
            parts.append("")
            position += 2
            continue
        elif one == "&" and line[position - 1 : position] in (">", "<"):
            pass  # 2>&1
        elif one in "|;&()\n`" or (one == "#" and line[position - 1 : position] in ("", " ", "\t")):
            plain = False
        parts[-1] += line[position : position + width]
        position += width
    if quote or depth:
        raise ValueError("a quote or bracket is not closed")
    return parts if plain else None


def stray(site: Site, wanted: dict[str, str]) -> list[str]:
    """Scripts in ``run`` of processes that nobody declares any more."""
    directory = os.path.join(site.release, "run")
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    return [os.path.join(directory, name) for name in names if name not in wanted]
