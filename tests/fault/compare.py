#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same kill storm over Python's pools and over libmproc: so many tasks, four workers, and one random
worker killed every 0 to 20 ms.

    compare.py COMPARE [--tasks N] [--task-us N] [--limit SECONDS] [--seed N]

COMPARE is the program of compare.c.  Each pool is in a process of its own, with a time limit: whoever is
not done by then hangs.  Prints the table of the README."""

import argparse
import concurrent.futures
import concurrent.futures.process
import multiprocessing
import os
import platform
import random
import signal
import subprocess
import sys
import threading
import time

WORKERS = 4
PAUSE = 0.020


def twice(item):
    index, task_us = item
    if task_us:
        time.sleep(task_us / 1e6)
    return index * 2


# ---- the storm over a pool of Python ----------------------------------------------------------------


class Killer(threading.Thread):
    """Kills a random one of the processes that `pids` tells."""

    def __init__(self, pids, seed):
        super().__init__(daemon=True)
        self.pids, self.random, self.kills = pids, random.Random(seed), 0
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(self.random.random() * PAUSE):
            pids = self.pids()
            if pids:
                try:
                    os.kill(self.random.choice(pids), signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass


class State:
    """What the reporter tells when the tasks have ended, or the time limit is over."""

    def __init__(self, limit):
        self.completed = self.failed = 0
        self.begin = time.monotonic()
        self.limit = limit
        self.killer = None

    def tell(self, verdict):
        seconds = time.monotonic() - self.begin
        kills = self.killer.kills if self.killer else 0
        print(self.completed, self.failed, kills, f"{seconds:.2f}", verdict, flush=True)
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(0)  # a pool that hangs cannot be ended in any other way

    def watch(self):
        timer = threading.Timer(self.limit, self.tell, ["hangs"])
        timer.daemon = True
        timer.start()


def count(state, value):
    state.completed += 1 if isinstance(value, int) else 0


def count_failure(state, _):
    state.failed += 1


def storm_pool(state, options):
    pool = multiprocessing.Pool(WORKERS)
    state.killer = Killer(lambda: [p.pid for p in list(pool._pool) if p.is_alive()], options.seed)
    state.killer.start()
    results = [
        pool.apply_async(twice, ((i, options.task_us),), callback=lambda v: count(state, v),
                         error_callback=lambda e: count_failure(state, e))
        for i in range(options.tasks)
    ]
    for result in results:
        result.wait()
    state.killer.over.set()
    return "works" if pool.apply_async(twice, ((1, 0),)).get() == 2 else "broken"


def storm_executor(state, options):
    executor = concurrent.futures.ProcessPoolExecutor(WORKERS)
    futures = []
    state.killer = Killer(lambda: [p.pid for p in list((executor._processes or {}).values())
                                   if p.is_alive()], options.seed)
    state.killer.start()
    try:
        for i in range(options.tasks):
            futures.append(executor.submit(twice, (i, options.task_us)))
    except concurrent.futures.process.BrokenProcessPool:
        pass  # what was not taken is counted as failed: the program was told
    for future in futures:
        try:
            count(state, future.result())
        except concurrent.futures.process.BrokenProcessPool as error:
            count_failure(state, error)
    state.failed += options.tasks - len(futures)
    state.killer.over.set()
    try:
        return "works" if executor.submit(twice, (1, 0)).result() == 2 else "broken"
    except concurrent.futures.process.BrokenProcessPool:
        return "broken"


STORMS = {"multiprocessing.Pool": storm_pool, "ProcessPoolExecutor": storm_executor}


def run_storm(name, options):
    state = State(options.limit)
    state.watch()
    state.tell(STORMS[name](state, options))


# ---- the table --------------------------------------------------------------------------------------


def run_one(command, options):
    """(completed, reported as failed, kills, seconds, verdict) of a storm in its own process."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        process.wait(options.limit + 10)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)  # workers that a pool has left behind
    except ProcessLookupError:
        pass
    line = process.communicate()[0].split()  # only now: they held the other end
    return line if len(line) == 5 else ["0", "0", "?", str(options.limit), "hangs"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("compare")
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--task-us", type=int, default=0)
    parser.add_argument("--limit", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--storm", choices=sorted(STORMS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.storm:
        run_storm(options.storm, options)
    itself = [sys.executable, os.path.abspath(__file__), options.compare, f"--tasks={options.tasks}",
              f"--task-us={options.task_us}", f"--limit={options.limit}", f"--seed={options.seed}"]
    program = [options.compare, str(options.tasks), str(WORKERS), str(options.task_us)]
    rows = [(name, itself + ["--storm", name]) for name in STORMS]
    rows.append(("libmproc", program + ["0", str(options.seed)]))
    rows.append(("libmproc, 3 retries", program + ["3", str(options.seed)]))
    kind = f"of {options.task_us} us" if options.task_us else "trivial"
    print(f"{options.tasks} tasks ({kind}), {WORKERS} workers, Python {platform.python_version()}\n")
    print("| pool | completed | reported as failed | lost | then the pool | kills | seconds |")
    print("|---|--:|--:|--:|---|--:|--:|")
    failed = False
    for name, command in rows:
        completed, reported, kills, seconds, verdict = run_one(command, options)
        lost = options.tasks - int(completed) - int(reported)
        print(f"| {name} | {completed} | {reported} | {lost} | {verdict} | {kills} | {seconds} |",
              flush=True)
        failed |= name.startswith("libmproc") and (lost != 0 or verdict != "works")
    return failed


if __name__ == "__main__":
    sys.exit(main())
