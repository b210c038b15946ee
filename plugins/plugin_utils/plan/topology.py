# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which server serves which tier, and how much memory each part of it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TIERS = ("database", "cache", "app", "web")
GROUPS = (*TIERS, "monitoring")

WORKER_MB = 256  # of an average Django process (Heroku's Python buildpack counts the same)


@dataclass(frozen=True)
class Host:
    """What the plan knows of one server."""

    name: str
    address: str  # by which the other servers reach it
    memory_mb: int
    cpus: int
    python: str  # "3.11"
    distribution: str  # "Debian 12"
    known: bool = True  # whether the address was given or seen, not guessed


def tiers(groups: Mapping[str, Sequence[str]], hosts: Sequence[str], host: str) -> dict[str, list[str]]:
    """The servers of each tier, as one server sees them.

    Without any tier group every server is complete in itself: two of them are two copies of the sites. A tier group
    that has members is that tier, and nothing else is; servers in no group then share the tiers that have no group.
    """
    placed = {name for group in GROUPS for name in groups.get(group, ())}
    free = [name for name in hosts if name not in placed]
    if not any(groups.get(tier) for tier in TIERS):
        return {tier: [host] if host in free else [] for tier in TIERS}
    return {tier: [name for name in hosts if name in groups.get(tier, ())] or free for tier in TIERS}


@dataclass(frozen=True)
class Budget:
    """Memory of one server in MB; the parts add up to less than the whole."""

    system: int
    database: int
    cache: int
    app: int


def budget(memory_mb: int, served: Sequence[str]) -> Budget:
    """Share the memory of a server among what it serves.

    The system keeps 256 MB or a tenth, whichever is more. Of the rest databases count 3, the caches 1 and the
    applications 4 parts; what is not served here does not count, so a database server gets its memory whole.
    """
    system = min(max(256, memory_mb // 10), memory_mb // 2)
    parts = {"database": 3, "cache": 1, "app": 4}
    total = sum(weight for tier, weight in parts.items() if tier in served) or 1
    share = {tier: (memory_mb - system) * weight // total if tier in served else 0 for tier, weight in parts.items()}
    return Budget(system, share["database"], share["cache"], share["app"])


def workers(cpus: int, share_mb: int) -> int:
    """Processes of an application server: 2 x processors + 1 (gunicorn's design notes), as far as memory allows."""
    return max(1, min(2 * cpus + 1, share_mb // WORKER_MB))
