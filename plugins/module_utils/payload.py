# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an action plugin sends to its module, as one argument."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any


def pack(payload: dict[str, Any]) -> str:
    """What `unpack` reads: JSON, compressed, in base64."""
    return base64.b64encode(zlib.compress(json.dumps(payload).encode())).decode()


def unpack(packed: str) -> dict[str, Any]:
    """The payload."""
    return dict(json.loads(zlib.decompress(base64.b64decode(packed))))
