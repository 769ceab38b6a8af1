"""Measures Huey on its SQLite storage: `python huey_bench.py SCRATCH_FOLDER TASKS`.

Prints one measurement a line, as `crates/engine/examples/bench.rs` does for Unknot, and under the
same names. Consumer and producer share one process, as in an embedded engine.
"""

import json
import math
import signal
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

from huey import SqliteHuey
from huey.signals import SIGNAL_COMPLETE

WORKERS = 16
# Longest silence before a measurement is given up, in seconds.
SILENCE = 60
# What the signals meant before the consumer took them for its own shutdown.
SIGNALS = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


class Bench:
    """One Huey on a database of its own, and a count of the tasks that it has completed."""

    def __init__(self, folder, name):
        self.huey = SqliteHuey(name, filename=str(folder / f"{name}.db"))
        self.task = self.huey.task()(no_op)
        self.huey.signal(SIGNAL_COMPLETE)(self.count)
        self.lock = threading.Lock()
        self.left = 0
        self.done = threading.Event()

    def count(self, _signal, _task):
        with self.lock:
            self.left -= 1
            if self.left == 0:
                self.done.set()

    def expect(self, tasks):
        self.left = tasks
        self.done.clear()

    def wait(self):
        if not self.done.wait(SILENCE):
            sys.exit(f"huey: {self.left} tasks were left after {SILENCE} s")

    def start(self, **options):
        """A consumer as `huey_consumer.py -w 16` starts it; `options` are told where they differ."""
        consumer = self.huey.create_consumer(workers=WORKERS, worker_type="thread", **options)
        consumer.start()
        for number, handler in SIGNALS.items():
            signal.signal(number, handler)
        return consumer

    def pragma(self, name):
        return self.huey.storage.sql(f"pragma {name}", results=True)[0][0]

    def say(self, what, unit, value, **how):
        journal, synchronous = map(self.pragma, ("journal_mode", "synchronous"))
        level = ("OFF", "NORMAL", "FULL", "EXTRA")[synchronous]
        durability = f"SQLite {journal.upper()}, synchronous={level}; a task leaves the queue before it runs"
        about = {"who": f"Huey {version('huey')}", "durability": durability}
        print(json.dumps({**about, "what": what, "unit": unit, "value": value, "with": how}), flush=True)


def no_op():
    """The task of every measurement."""


def rate(runs, start):
    return runs / (time.perf_counter() - start)


def burn_down(folder, name, tasks):
    """Fills a queue, then times 16 threads that empty it."""
    bench = Bench(folder, name)
    bench.expect(tasks)
    start = time.perf_counter()
    for _ in range(tasks):
        bench.task()
    added = rate(tasks, start)
    start = time.perf_counter()
    consumer = bench.start()
    bench.wait()
    burned = rate(tasks, start)
    consumer.stop(graceful=True)
    return bench, added, burned


def latency(folder, name, samples, **options):
    """From the submission of one task to the signal that it is complete, nothing else going on."""
    bench = Bench(folder, name)
    consumer = bench.start(**options)
    taken = []
    for _ in range(samples):
        bench.expect(1)
        start = time.perf_counter()
        bench.task()
        bench.wait()
        taken.append((time.perf_counter() - start) * 1_000)
    consumer.stop(graceful=True)
    taken.sort()
    return bench, taken[samples // 2], taken[samples * 99 // 100]


def main():
    folder, tasks = Path(sys.argv[1]), int(sys.argv[2])
    burn_down(folder, "warm-up", math.ceil(tasks / 10))
    bench, added, burned = burn_down(folder, "burn-down", tasks)
    bench.say("submissions", "runs_per_s", added, of="no-op tasks", runs=tasks, window=1)
    bench.say("no-op tasks", "runs_per_s", burned, slots=WORKERS, runs=tasks, shape="burn-down")
    # Workers ask for work: as often as Huey's default says, and as often as one would set it for speed.
    bench, p50, p99 = latency(folder, "default", 100)
    bench.say("one task, idle", "p50_ms", p50, p99_ms=p99, samples=100, poll="100 ms (default)")
    bench, p50, p99 = latency(folder, "eager", 1_000, initial_delay=0.001, max_delay=0.001)
    bench.say("one task, idle", "p50_ms", p50, p99_ms=p99, samples=1_000, poll="1 ms")


if __name__ == "__main__":
    main()
