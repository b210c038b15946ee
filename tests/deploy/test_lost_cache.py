"""A cache that is killed under load: nobody sees an error, and who is logged in stays it."""

from __future__ import annotations

import httpx
import pytest
from site_under_load import HOST, Site

UNITS = {"redis": "redis-server@plain-cache", "memcached": "memcached@plain-cache"}


@pytest.mark.parametrize("cache", list(UNITS))
def test_a_cache_that_is_killed_under_load(site: Site, cache: str) -> None:
    site.given["cache"] = cache
    run = site.play("site")
    assert run.rc == 0, run.end
    unit, address = UNITS[cache], site.server.facts["address"]
    with httpx.Client(verify=False, headers={"Host": HOST}, timeout=30) as visitor:

        def visits() -> int:
            answer = visitor.get(f"https://{address}/visits/", extensions={"sni_hostname": HOST})
            assert answer.status_code == 200, answer.text
            return int(answer.json()["visits"])

        assert [visits(), visits()] == [1, 2]
        with site.load(path="/visits/"):
            site.server.run(f"systemctl mask --runtime {unit}; systemctl kill --signal=KILL {unit}")
            assert [visits(), visits()] == [3, 4]
            site.server.run(f"! systemctl is-active {unit}; systemctl unmask --runtime {unit}; systemctl start {unit}")
            assert [visits(), visits()] == [5, 6]
            site.server.run(f"systemctl kill --signal=KILL {unit}")  # systemd brings it back by itself
            assert [visits(), visits()] == [7, 8]
        assert visits() == 9
    assert site.seen["failed"] == 0, site.seen
    site.server.run(f"timeout 30 sh -c 'until systemctl --quiet is-active {unit}; do sleep 0.5; done'")
    run = site.play("site")
    assert (run.rc, run.changed) == (0, 0), run.end
