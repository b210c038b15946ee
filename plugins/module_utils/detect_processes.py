# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a checkout says about its processes: a Procfile, a Celery app. Nothing of it is imported or run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.detect_dependencies import nearest, read

_APP = re.compile(r"(?m)^(?!\s*#).*=\s*(?:celery\.)?Celery\(")
_BEAT = re.compile(r"beat_schedule|django_celery_beat|add_periodic_task", re.IGNORECASE)


def procfile(root: str, directory: str) -> dict[str, str]:
    """The processes of a Procfile."""
    path = nearest(root, directory, "Procfile")
    lines = read(root, path).splitlines() if path else []
    found = (re.fullmatch(r"([A-Za-z0-9_-]+):\s*(.+)", line.strip()) for line in lines)
    return {match.group(1): match.group(2) for match in found if match}


def celery(project: str, files: Iterable[str], settings: str) -> dict[str, Any] | None:
    """The Celery app of a project, as ``celery -A`` takes it, and whether something is to run at times.

    Args:
        project: the directory of manage.py.
        files: paths of the project, relative to it, the shallow ones first.
        settings: the text of its settings.
    """
    found = [path for path in files if path.endswith(".py") and _APP.search(read(project, path))]
    if not found:
        return None
    # By convention it is called celery.py; the directory above is then the name of the app.
    path = next((one for one in found if os.path.basename(one) == "celery.py"), found[0])
    module = re.sub(r"^src/|(/__init__|/celery)?\.py$", "", path).replace("/", ".")
    return {"app": module, "beat": bool(_BEAT.search(settings) or _BEAT.search(read(project, path)))}
