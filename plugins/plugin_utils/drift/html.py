# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as a page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.drift.text import summary, total, when

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --soft: #8881 }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.4rem; margin: 0 }}
h2 {{ font-size: 1rem; margin: 0 }}
section {{ border: 1px solid var(--line); border-left-width: .4rem; border-radius: .3rem; margin: .5rem 0; padding: .4rem .8rem }}
.clean {{ border-left-color: #2a8a4a }}
.drift {{ border-left-color: #c98a00 }}
.failed, .unreachable {{ border-left-color: #c0392b }}
.head {{ display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: baseline }}
.table {{ overflow-x: auto }}
table {{ border-collapse: collapse; width: 100%; margin-top: .4rem }}
th, td {{ text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-top: 1px solid var(--line) }}
th {{ font-weight: 600; font-size: .85rem }}
td.thing, pre {{ font: 13px/1.45 ui-monospace, monospace; overflow-wrap: anywhere }}
pre {{ margin: 0; white-space: pre-wrap }}
time {{ white-space: nowrap }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{total}. <time datetime="{time}">{when}</time></p>
{hosts}
</body>
</html>
"""
_COLUMNS = ("Role", "Site", "What", "Expected", "Found", "Since")


def page(report: Mapping[str, Any]) -> str:
    """The page."""
    time = str(report.get("time") or "")
    hosts = "\n".join(_host(report, name, host) for name, host in report["hosts"].items())
    return _PAGE.format(
        title="Drift of the servers", total=escape(total(report)), time=escape(time), when=when(time), hosts=hosts
    )


def _host(report: Mapping[str, Any], name: str, host: Mapping[str, Any]) -> str:
    head = f'<div class="head"><h2>{escape(name)}</h2><span>{escape(summary(report, host))}</span></div>'
    parts = [head, *(f"<pre>{escape(one['message'])}</pre>" for one in host["errors"] if "\n" in one["message"])]
    if host["drift"]:
        titles = "".join(f"<th>{one}</th>" for one in _COLUMNS)
        rows = "\n".join(_row(one) for one in host["drift"])
        parts.append(
            f'<div class="table"><table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
        )
    return f'<section class="{escape(host["state"])}">' + "\n".join(parts) + "</section>"


def _row(one: Mapping[str, Any]) -> str:
    cells = [
        f"<td>{escape(one['role'])}</td>",
        f"<td>{escape(one['site'] or '')}</td>",
        f'<td class="thing">{escape(one["thing"])}</td>',
        f"<td><pre>{escape(one['expected'])}</pre></td>",
        f"<td><pre>{escape(one['found'])}</pre></td>",
        f'<td><time datetime="{escape(one["since"])}">{when(one["since"])}</time></td>'
        if one["since"]
        else "<td></td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"
