# SPDX-License-Identifier: MIT
"""The same work by Python's processes.

peer_python.py process|pool|executor ROW WORKERS COUNT SIZE SECONDS prints the value of the row.
"""

import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Pool, Process

LEAST_SAMPLES = 3


def median_seconds(seconds, body):
    samples = []
    begin = before = time.perf_counter()
    while len(samples) < LEAST_SAMPLES or before - begin < seconds:
        body()
        after = time.perf_counter()
        samples.append(after - before)
        before = after
    return statistics.median(samples)


def do_nothing():
    pass


def square(x):
    return x * x


def same(x):
    return x


def work(units):
    for _ in range(units * 20):
        pass


def load(count):
    """The lengths of load.c."""
    state, lengths = 1, []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        lengths.append((1 - (state >> 11) / 2**53) ** (-1 / 1.16))
    return [int(length / sum(lengths) * count * 1000) for length in lengths]


def spawn_and_join():
    process = Process(target=do_nothing)
    process.start()
    process.join()


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def tree_kib():
    """Of this process and its children; Python's workers have none."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return pss_kib(os.getpid()) + sum(pss_kib(pid) for pid in file.read().split())


class PoolOfPython:
    def __init__(self, workers):
        self.workers = workers
        self.pool = Pool(workers)

    def call(self, function, argument):
        return self.pool.apply(function, (argument,))

    def map(self, function, items, chunk=None):
        return self.pool.map(function, items, chunk)

    def fly(self, function, items):
        for _ in self.pool.imap_unordered(function, items):
            pass

    def close(self):
        self.pool.close()
        self.pool.join()


class Executor:
    def __init__(self, workers):
        self.workers = workers
        self.pool = ProcessPoolExecutor(workers)

    def call(self, function, argument):
        return self.pool.submit(function, argument).result()

    def map(self, function, items, chunk=None):
        chunk = chunk or max(1, len(items) // (4 * self.workers))
        return list(self.pool.map(function, items, chunksize=chunk))

    def fly(self, function, items):
        for future in [self.pool.submit(function, item) for item in items]:
            future.result()

    def close(self):
        self.pool.shutdown()


def create(kind, workers):
    pool = kind(workers)
    pool.call(square, 3)
    pool.close()


def measure(kind, row, workers, count, size, seconds):
    if row == "spawn":
        return 1e6 * median_seconds(seconds, spawn_and_join)
    if row == "create":
        return 1e3 * median_seconds(seconds, lambda: create(kind, workers))
    before = tree_kib()
    pool = kind(workers)
    pool.map(square, list(range(100)))
    try:
        if row == "round_trip":
            return 1e6 * median_seconds(seconds, lambda: pool.call(square, 3))
        if row == "idle_memory":
            return tree_kib() - before
        if row == "in_flight":
            items = list(range(count))
            return 1e-6 * count / median_seconds(seconds, lambda: pool.fly(square, items))
        if row == "large":
            items = [bytes(size) for _ in range(count)]
            return count * size / 2**30 / median_seconds(seconds, lambda: pool.map(same, items, 1))
        if row == "pareto":
            items = load(count)
            alone = median_seconds(seconds, lambda: [work(units) for units in items])
            return alone / median_seconds(seconds, lambda: pool.map(work, items, 1))
        items = list(range(count))
        chunk = size or None
        return 1e-6 * count / median_seconds(seconds, lambda: pool.map(square, items, chunk))
    finally:
        pool.close()


if __name__ == "__main__":
    kind = {"process": None, "pool": PoolOfPython, "executor": Executor}[sys.argv[1]]
    row, workers, count, size = sys.argv[2], *map(int, sys.argv[3:6])
    print(f"{measure(kind, row, workers, count, size, float(sys.argv[6])):.9g}")
