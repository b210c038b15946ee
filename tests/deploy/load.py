#!/usr/bin/env python3
"""A strict load on a site: every answer that is not 200, and every refused or reset connection, counts.

    load.py HOST ADDRESS [--rate 60] [--path /]      until standard input ends

A third of the requests each comes by HTTP/1.1 with keep-alive, by HTTP/1.1 with a connection of its own, and by HTTP/2.
They begin at their time, whether those before have ended or not, and tell it (X-Sent, seconds since 1970). Prints JSON: requests, failed, kinds of failures with
the moment of the first, releases seen (header X-Webstack-Release), and the longest and median seconds of an answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter

import httpx

TIMEOUT = 60.0  # seconds; a visitor waits no longer, and nothing here should take so long


class Load:
    """The clients and what they saw."""

    def __init__(self, host: str, address: str, path: str) -> None:
        self.url = f"https://{address}{path}"
        self.host = host
        limits = httpx.Limits(max_connections=500, max_keepalive_connections=50)
        options = {"verify": False, "timeout": TIMEOUT, "limits": limits, "headers": {"Host": host}}
        self.clients = {
            "keep-alive": httpx.AsyncClient(**options),
            "close": httpx.AsyncClient(**options | {"headers": {"Host": host, "Connection": "close"}}),
            "http2": httpx.AsyncClient(http2=True, **options),
        }
        self.seconds: list[float] = []
        self.failures: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.versions: Counter[str] = Counter()
        self.releases: Counter[str] = Counter()

    async def ask(self, kind: str) -> None:
        """One request."""
        began = time.monotonic()
        try:
            answer = await self.clients[kind].get(
                self.url, headers={"X-Sent": str(time.time())}, extensions={"sni_hostname": self.host}
            )
            wrong = "" if answer.status_code == 200 else str(answer.status_code)
            self.versions[answer.http_version] += 1
            self.releases[answer.headers.get("X-Webstack-Release", "")] += 1
        except httpx.HTTPError as error:
            wrong = type(error).__name__
        if wrong:
            self.failures[f"{kind}: {wrong}"] += 1
            self.first.setdefault(f"{kind}: {wrong}", time.strftime("%H:%M:%S"))
        self.seconds.append(time.monotonic() - began)

    async def run(self, rate: float) -> None:
        """Ask until standard input ends."""
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        tasks: set[asyncio.Task[None]] = set()
        due, number = time.monotonic(), 0
        while not ended.done():
            kind = list(self.clients)[number % len(self.clients)]
            task = asyncio.create_task(self.ask(kind))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*tasks)
        for client in self.clients.values():
            await client.aclose()

    def result(self, elapsed: float) -> dict[str, object]:
        """What to print."""
        return {
            "requests": len(self.seconds),
            "rate": round(len(self.seconds) / elapsed, 1),
            "failed": sum(self.failures.values()),
            "kinds": dict(self.failures),
            "first": self.first,
            "versions": dict(self.versions),
            "releases": dict(self.releases),
            "longest": round(max(self.seconds), 3),
            "median": round(statistics.median(self.seconds), 4),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("address")
    parser.add_argument("--rate", type=float, default=60)
    parser.add_argument("--path", default="/")
    given = parser.parse_args()
    load = Load(given.host, given.address, given.path)
    began = time.monotonic()
    asyncio.run(load.run(given.rate))
    json.dump(load.result(time.monotonic() - began), sys.stdout)


if __name__ == "__main__":
    main()
