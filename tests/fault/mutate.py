#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Breaks the library on purpose, one line at a time, and asks whether the tests notice.

    mutate.py [--sample N] [--seed S] [--jobs J] [--only PATTERN] [--check] [CMAKE-ARGUMENT...]

The mutants stand in `mutants` beside this file.  Each is put into a copy of the tree, which is built,
and the test programs that PROGRAMS names for its file run, in that order, until a test fails.  A
mutant that hangs is killed by the time limit.  A test that fails counts only if it fails again, alone,
and its program passes with the code as it is: a machine under load kills nobody.

--sample N takes N mutants at random (the seed is printed), --check only looks whether each mutant
can still be put in its place.  Exit status 0: at least 90 % were killed, and each survivor has its
answer in the list.
"""
import argparse
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIST = os.path.join(HERE, "mutants")
LEAST_PERCENT = 90
TEST_LIMIT = "10"  # seconds for each test: the longest takes three
FAULT_LIMIT = "40"  # of a program of faults
PROGRAM_LIMIT = 120  # seconds for all of a program
ATTEMPTS = 3  # at a failure that can be confirmed

# Which programs are to see that a file is broken: its own test, those near it, the faults it is for.
PROGRAMS = {
    "word": "word worker gather supervisor fault_wrap_storm fault_kill_storm",
    "futex": "futex bell generation queue",
    "bell": "bell generation gather worker supervisor fault_kill_storm",
    "region": "region bell queue submit pool fault_hostile fault_sizes",
    "queue": "queue worker submit linger fault_wrap_storm fault_kill_storm",
    "linger": "linger worker",
    "pool": "pool linger queue gather options fault_misuse",
    "worker": "worker gather queue linger submit future map loop pool fault_hang fault_kill_storm supervisor",
    "run": "worker future map pool gather submit fault_hang fault_hostile fault_kill_storm",
    "supervisor": "supervisor generation pool gather loop fault_hang fault_limits fault_kill_storm fault_crash_points",
    "limit": "supervisor pool gather fault_hang fault_limits fault_kill_storm fault_crash_points",
    "bury": "supervisor gather future map fault_kill_storm fault_hostile fault_crash_points",
    "child": "supervisor pool future fault_descriptors fault_kin fault_host_killed",
    "submit": "submit future map pool gather loop fault_calls fault_wrap_storm supervisor",
    "gather": "gather queue linger submit future map sections loop pool fault_threads fault_hang fault_supervisor_killed supervisor",
    "wait": "gather linger queue submit future map loop pool fault_threads fault_hang fault_supervisor_killed supervisor",
    "chunk": "chunk gather future map fault_hostile fault_kill_storm",
    "generation": "generation gather inline pool fault_descriptors fault_supervisor_killed fault_life",
    "future": "future submit bytes gather pool fault_calls fault_threads",
    "map": "map sections pool fault_calls fault_misuse",
    "section": "sections map progress pool fault_calls fault_kill_storm fault_misuse",
    "fork": "fork process pool supervisor fault_life fault_kin fault_locks",
    "watch": "watch crew process fault_stolen_wait fault_supervisor_killed",
    "bond": "bond process supervisor fault_host_killed fault_kin",
    "fd": "fd process pool fault_descriptors fault_eintr_storm",
}
WANTED = sorted(set(" ".join(PROGRAMS.values()).split()))


def programs_for(path):
    """Which programs are to see that this file is broken; its own test first."""
    return PROGRAMS[re.sub(r"(_linux)?\.[ch]$", "", os.path.basename(path))].split()


def target_of(name):
    return name if name.startswith("fault_") else name + "_test"


# ---- the list ------------------------------------------------------------------------------------


class Mutant:
    def __init__(self, line, path, what):
        self.line, self.path, self.what = line, path, what
        self.old, self.new, self.kind, self.answer = [], [], None, ""

    def pattern(self):
        """The old text; where it has white space, the source may have any."""
        words = " ".join(self.old).split()
        return re.compile(r"\s+".join(re.escape(word) for word in words))

    def apply(self, source):
        found = self.pattern().findall(source)
        if len(found) != 1:
            raise SystemExit(f"mutants:{self.line}: found {len(found)} times in {self.path}: "
                             + " ".join(self.old))
        return self.pattern().sub(lambda _: "\n".join(self.new), source)


def read_list():
    mutants = []
    for number, line in enumerate(open(LIST, encoding="utf-8"), 1):
        line = line.rstrip("\n")
        mark, text = line[:2], line[2:]
        if not line or line.startswith("#"):
            continue
        if mark == "@ ":
            path, what = text.split(": ", 1)
            mutants.append(Mutant(number, path, what))
        elif mark == "- ":
            mutants[-1].old.append(text)
        elif mark == "+ " or line == "+":
            mutants[-1].new.append(text)
        elif mark in ("= ", "~ "):
            mutants[-1].kind = "equivalent" if mark == "= " else "survivor"
            mutants[-1].answer = text
        elif mark == "  " and mutants[-1].kind:
            mutants[-1].answer += " " + text.strip()
        else:
            raise SystemExit(f"mutants:{number}: not understood: {line}")
    return mutants


def check_list(mutants):
    lost = []
    for mutant in mutants:
        try:
            programs_for(mutant.path)
            with open(os.path.join(ROOT, mutant.path), encoding="utf-8") as file:
                mutant.apply(file.read())
        except KeyError as file:
            lost.append(f"mutants:{mutant.line}: no program is named for {file}")
        except SystemExit as failure:
            lost.append(str(failure))
    if lost:
        raise SystemExit("\n".join(lost))


# ---- running a program -----------------------------------------------------------------------------


def end_session(session):
    """Whatever a mutant has left running.  It leads groups of its own, but stays in the session."""
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.getsid(int(entry)) == session:
                os.kill(int(entry), signal.SIGKILL)
        except OSError:
            pass  # it has ended meanwhile


def read_all(file):
    return os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace")


def run_program(command, environment):
    """None if it succeeded, else what failed."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   env=environment, start_new_session=True)
        text, limit = "", time.monotonic() + PROGRAM_LIMIT
        while process.poll() is None and "[  FAILED  ]" not in text and time.monotonic() < limit:
            time.sleep(0.02)
            text = read_all(output)
        process.kill()
        status = process.wait()
        end_session(process.pid)
        text = read_all(output)
    if status == 0:
        return None
    ended = set(re.findall(r"^\[ +(?:OK|SKIPPED) +\] (\w+)", text, re.M))
    begun = re.findall(r"^\[ RUN      \] (\w+)", text, re.M)
    name = next((test for test in begun if test not in ended), "")
    if status == -signal.SIGALRM:
        return f"{name} (time limit)"
    return name if status > 0 or status == -signal.SIGKILL else f"{name} (signal {-status})"


class Tree:
    """A copy of the tree with a build of its own."""

    def __init__(self, place, cmake_arguments):
        self.source = os.path.join(place, "tree")
        self.build = os.path.join(place, "build")
        os.mkdir(place)
        shutil.copytree(ROOT, self.source, ignore=shutil.ignore_patterns("build*", ".git"))
        self.command("cmake", "-S", self.source, "-B", self.build, "-DCMAKE_C_FLAGS=-g0",
                     "-DMPROC_BUILD_EXAMPLES=OFF", "-DMPROC_INSTALL=OFF", *cmake_arguments)
        self.make(*map(target_of, WANTED))
        self.programs = self.find_programs()

    def command(self, *words):
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def make(self, *targets):
        self.command("cmake", "--build", self.build, "--parallel", "2", "--target", *targets)

    def find_programs(self):
        """(command, environment) of each program in PROGRAMS, by the name of its test."""
        shown = self.command("ctest", "--test-dir", self.build, "--show-only=json-v1")
        programs = {}
        for test in json.loads(shown)["tests"]:
            if test["name"] not in WANTED:
                continue
            properties = {p["name"]: p["value"] for p in test["properties"]}
            limit = FAULT_LIMIT if test["name"].startswith("fault_") else TEST_LIMIT
            environment = dict(os.environ, MPROC_TEST_LIMIT=limit)
            environment.pop("MPROC_TEST_FILTER", None)
            environment.update(pair.split("=", 1) for pair in properties.get("ENVIRONMENT", []))
            programs[test["name"]] = (test["command"], environment)
        return programs


# ---- mutants -------------------------------------------------------------------------------------


class Run:
    def __init__(self, work, mutants, jobs, cmake_arguments):
        self.mutants = queue.Queue()
        for mutant in mutants:
            self.mutants.put(mutant)
        self.total = len(mutants)
        self.lock = threading.Lock()
        self.passes_unchanged = {}
        self.results = []
        self.failures = []
        self.trees = [Tree(os.path.join(work, f"lane{i}"), cmake_arguments) for i in range(jobs)]
        self.unchanged = os.path.join(work, "unchanged")
        os.mkdir(self.unchanged)
        for command, _ in self.trees[0].programs.values():
            shutil.copy2(command[-1], self.unchanged)

    def confirm(self, name, program):
        """The same program of the code as it is must pass."""
        command, environment = program
        with self.lock:
            if name not in self.passes_unchanged:
                again = command[:-1] + [os.path.join(self.unchanged, os.path.basename(command[-1]))]
                self.passes_unchanged[name] = run_program(again, environment)
            if self.passes_unchanged[name] is not None:
                raise SystemExit(f"{name} fails without a mutation: {self.passes_unchanged[name]}")

    def try_programs(self, tree, names):
        for name in names:
            command, environment = tree.programs[name]
            # A failure that does not come again hides those of the tests behind it: once more.
            for _ in range(ATTEMPTS):
                failed = run_program(command, environment)
                if failed is None:
                    break
                test = failed.split(" ")[0]
                alone = dict(environment, MPROC_TEST_FILTER=test) if test else environment
                if run_program(command, alone) is not None:
                    self.confirm(name, tree.programs[name])
                    return f"{name}: {failed}"
        return None

    def try_mutant(self, tree, mutant):
        path = os.path.join(tree.source, mutant.path)
        own, *others = programs_for(mutant.path)
        with open(path, encoding="utf-8") as file:
            original = file.read()
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(mutant.apply(original))
            tree.make(target_of(own))
            killer = self.try_programs(tree, [own])
            if killer is None:
                tree.make(*map(target_of, others))
                killer = self.try_programs(tree, others)
        finally:
            with open(path, "w", encoding="utf-8") as file:
                file.write(original)
        return killer

    def lane(self, tree):
        while True:
            try:
                mutant = self.mutants.get_nowait()
            except queue.Empty:
                return
            begin = time.monotonic()
            try:
                killer = self.try_mutant(tree, mutant)
            except (SystemExit, Exception) as failure:
                self.failures.append(f"mutants:{mutant.line}: {failure}")
                continue
            with self.lock:
                self.results.append((mutant, killer))
                print(f"{len(self.results):3}/{self.total} {'killed' if killer else 'SURVIVED':8} "
                      f"{time.monotonic() - begin:5.0f} s  {mutant.path}: {mutant.what}"
                      f"  [{killer or '-'}]", flush=True)

    def run(self):
        threads = [threading.Thread(target=self.lane, args=(tree,)) for tree in self.trees]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.results


def report(results, equivalent, failures):
    killed = [mutant for mutant, killer in results if killer]
    survivors = [mutant for mutant, killer in results if not killer]
    files = sorted({mutant.path for mutant, _ in results})
    print(f"\n{'file':32} {'mutants':>8} {'killed':>8}")
    for path in files:
        print(f"{path:32} {sum(m.path == path for m, _ in results):8} "
              f"{sum(m.path == path for m in killed):8}")
    print("\nSurvivors:" if survivors else "\nNo survivors.")
    for mutant in survivors:
        print(f"  {mutant.path}: {mutant.what}\n      {mutant.answer or 'NOT ANSWERED'}")
    for mutant in killed:
        if mutant.kind == "survivor":
            print(f"  (killed this time, {mutant.path}: {mutant.what})")
    percent = 100 * len(killed) / len(results) if results else 0
    print(f"\n{len(killed)} of {len(results)} mutants killed, {percent:.1f} %; "
          f"{len(equivalent)} more are equivalent")
    if failures:
        print("Not all were run.", *failures, sep="\n")
        return False
    unanswered = [mutant for mutant in survivors if not mutant.answer]
    return not unanswered and percent >= LEAST_PERCENT


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("MPROC_TEST_SEED", "0"), 0))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", help="a regular expression for path and text")
    parser.add_argument("--check", action="store_true")
    arguments, cmake_arguments = parser.parse_known_args()
    mutants = read_list()
    check_list(mutants)
    equivalent = [mutant for mutant in mutants if mutant.kind == "equivalent"]
    chosen = [mutant for mutant in mutants
              if mutant.kind != "equivalent"
              and re.search(arguments.only, f"{mutant.path}: {mutant.what}")]
    if arguments.check:
        print(f"{len(chosen)} mutants, and {len(equivalent)} equivalent ones, fit the source")
        return 0
    if arguments.sample:
        seed = arguments.seed or random.SystemRandom().randrange(1, 2**32)
        print(f"MPROC_TEST_SEED={seed}", flush=True)
        # Those that are known to survive tell nothing new, and a sample is too small for a quota.
        chosen = [mutant for mutant in chosen if not mutant.kind]
        chosen = random.Random(seed).sample(chosen, min(arguments.sample, len(chosen)))
    work = tempfile.mkdtemp(prefix="mproc-mutate-")
    try:
        run = Run(work, chosen, max(1, arguments.jobs), cmake_arguments)
        results = run.run()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0 if report(results, equivalent, run.failures) else 1


if __name__ == "__main__":
    sys.exit(main())
