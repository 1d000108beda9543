"""The proxy of `kit.fault_proxy` as a process of its own, for drives that are processes themselves.

    with fault_line(server.endpoint, seed=3) as line:
        line.scatter(0.1, PASSING)
        …
        line.heal()
        assert not line.report().missed

Or by hand, for measurements; an Enter prints what came through so far, and the end of the input ends it:

    python tests/kit/fault_line.py http://127.0.0.1:9000 --latency-ms 40

Both speak lines: a word, and what belongs to it as JSON.
"""

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kit.breaks import MAY_MEET, Break
from kit.fault_proxy import FaultProxy, fault_proxy


@dataclass(frozen=True)
class Report:
    """What came through since the start, by kind of request."""

    requests: dict[str, int]
    hits: dict[str, dict[str, int]]
    """How many met what, by the name of the fault."""
    missed: dict[str, list[str]]
    """Which of the scattered faults none of a kind has met; kinds of which there was no request are not there."""

    def total_hits(self) -> int:
        """How many requests met anything."""
        return sum(sum(whats.values()) for whats in self.hits.values())


class FaultLine:
    """A proxy that runs elsewhere and listens at `endpoint`; made by `fault_line`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.endpoint: str = self._answer()

    def scatter(self, rate: float, whats: Collection[Break]) -> None:
        """As `FaultProxy.scatter`."""
        self._say("scatter", rate=rate, whats=[what.name for what in whats])

    def heal(self) -> None:
        """As `FaultProxy.heal`."""
        self._say("heal")

    def end_idle(self) -> int:
        """As `FaultProxy.end_idle`."""
        return int(self._say("end_idle"))

    def report(self) -> Report:
        return Report(**self._say("report"))

    def _say(self, word: str, **values: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word} {json.dumps(values)}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the proxy ended with {self._process.wait()}"
        return json.loads(line)


@contextlib.contextmanager
def fault_line(upstream: str, seed: int = 0, hang_s: float = 30.0) -> Iterator[FaultLine]:
    """A proxy process before the server at `upstream`, for as long as the block lasts."""
    command = [sys.executable, __file__, upstream, "--seed", str(seed), "--hang-s", str(hang_s), "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield FaultLine(process)
        finally:
            process.kill()


def _report(proxy: FaultProxy) -> dict[str, Any]:
    hits: dict[str, dict[str, int]] = {}
    for kind, what, _ in list(proxy.hits):
        met = hits.setdefault(kind, {})
        met[what.name] = met.get(what.name, 0) + 1
    asked = [kind for kind in MAY_MEET if proxy.count.requests[kind]]
    missed = {kind: sorted(what.name for what in proxy.missed(kind)) for kind in asked}
    return {"requests": dict(proxy.count.requests), "hits": hits, "missed": {k: v for k, v in missed.items() if v}}


def _obey(proxy: FaultProxy, word: str, values: dict[str, Any]) -> Any:
    match word:
        case "scatter":
            return proxy.scatter(values["rate"], [Break[name] for name in values["whats"]])
        case "heal":
            return proxy.heal()
        case "end_idle":
            return proxy.end_idle()
        case "report":
            return _report(proxy)
    raise AssertionError(word)


def main() -> None:
    parser = argparse.ArgumentParser(description="An S3 server, but slow, or broken by those who know the words.")
    parser.add_argument("upstream")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--mib-per-s", type=float)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hang-s", type=float, default=30.0)
    parser.add_argument("--quiet", action="store_true", help="speak in JSON only")
    options = parser.parse_args()
    with fault_proxy(options.upstream, options.seed, options.port) as proxy:
        proxy.latency_s = options.latency_ms / 1000
        proxy.hang_s = options.hang_s
        proxy.bytes_per_s = options.mib_per_s and options.mib_per_s * 2**20
        print(json.dumps(proxy.endpoint) if options.quiet else proxy.endpoint, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            for line in sys.stdin:
                word, _, values = line.strip().partition(" ")
                print(json.dumps(_obey(proxy, word, json.loads(values))) if word else proxy.count, flush=True)


if __name__ == "__main__":
    main()
