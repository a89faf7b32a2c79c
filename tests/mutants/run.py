#!/usr/bin/env python3
"""Breaks the code on purpose, one place at a time, and demands that the check which is named for it fails.

The breakages are those of mutants.toml: each replaces a text that occurs exactly once. The tree is copied first, so a
run leaves the sources alone, and may be interrupted at any time. Needs nothing but Python 3.11, git and cargo.
"""

import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCRATCH = ROOT / "target" / "mutants"

# Longer than any check takes on the unbroken code. A check that never ends has not passed either.
PATIENCE = 300

# What is built is thrown away after one run: nothing pays for optimisation, or for names in a debugger.
FAST_BUILD = {"CARGO_PROFILE_DEV_OPT_LEVEL": "0", "CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_INCREMENTAL": "1"}

CAUGHT = ("caught", "caught: it hangs")


def main():
    arguments = parse_arguments()
    mutants = tomllib.loads((HERE / "mutants.toml").read_text())["mutant"]
    complaints = [complaint for mutant in mutants for complaint in misfits(mutant)]
    names = [mutant["name"] for mutant in mutants]
    complaints += [f"{name!r} stands there twice" for name in sorted(set(names)) if names.count(name) > 1]
    for complaint in complaints:
        print(f"mutants.toml: {complaint}", file=sys.stderr)
    chosen = choose(mutants, arguments)
    if complaints or arguments.list:
        for mutant in chosen:
            print(f"{mutant.get('hole', ''):4} {mutant['name']}")
        sys.exit(bool(complaints))

    first = Workshop(SCRATCH / "0")
    first.fill()
    for check in sorted({mutant["check"] for mutant in chosen}):
        demand_pass(first, check)
    workshops = queue.SimpleQueue()
    workshops.put(first)
    for number in range(1, arguments.jobs):
        workshops.put(first.copied_to(SCRATCH / str(number)))

    def judged(mutant):
        workshop = workshops.get()
        try:
            return workshop.verdict(mutant)
        finally:
            workshops.put(workshop)

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        verdicts = []
        for mutant, verdict in zip(chosen, pool.map(judged, chosen)):
            verdicts.append(verdict)
            print(f"{verdict:17} {mutant.get('hole', ''):4} {mutant['name']}  [{mutant['check']}]", flush=True)

    caught = sum(verdict in CAUGHT for verdict in verdicts)
    print(f"\n{caught} of {len(chosen)} mutants caught, {len(mutants)} on the list.")
    sys.exit(caught < len(chosen))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to try, by a part of their names or by their hole")
    parser.add_argument("--all", action="store_true", help="try every mutant")
    parser.add_argument("--sample", type=int, metavar="N", help="try N of them, others each day")
    parser.add_argument("--seed", type=int, default=datetime.date.today().toordinal(), help="which sample; the day's if left out")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time, each with a tree of its own")
    parser.add_argument("--list", action="store_true", help="only show which would be tried, and whether all still apply")
    arguments = parser.parse_args()
    if not (arguments.all or arguments.sample or arguments.names or arguments.list):
        parser.error("say --all, --sample N, or a NAME")
    return arguments


def choose(mutants, arguments):
    if arguments.sample:
        count = min(arguments.sample, len(mutants))
        return [mutants[(arguments.seed * count + at) % len(mutants)] for at in range(count)]
    if not arguments.names:
        return mutants
    for name in arguments.names:
        if not any(is_meant(mutant, name) for mutant in mutants):
            sys.exit(f"no mutant is called {name!r}")
    return [mutant for mutant in mutants if any(is_meant(mutant, name) for name in arguments.names)]


def is_meant(mutant, name):
    return mutant.get("hole") == name or name in mutant["name"]


def misfits(mutant):
    """Why a mutant cannot be applied to the tree as it is."""
    path = ROOT / mutant["file"]
    found = path.read_text().count(mutant["old"]) if path.is_file() else 0
    if found != 1:
        yield f"{mutant['name']!r}: its text occurs {found} times in {mutant['file']}"
    if mutant["old"] == mutant["new"]:
        yield f"{mutant['name']!r} changes nothing"


def demand_pass(workshop, check):
    """Ends everything unless the check has a test and passes as long as nothing is broken: else its failure means nothing."""
    verdict, output = workshop.run(check)
    passed = sum(map(int, re.findall(r"(\d+) passed", output)))
    if verdict != "survived" or passed == 0:
        sys.exit(f"{output}\n{check}: has no test, or does not pass on the unbroken code")


class Workshop:
    """A copy of the tree, in which things are broken and mended, with its own build."""

    def __init__(self, root):
        self.tree = root / "tree"
        self.target = root / "target"

    def fill(self):
        """Makes the copy equal to the tree. What is equal already stays untouched, so that it is not built again."""
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        files = {pathlib.Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()}
        for path in sorted(self.tree.rglob("*")):
            if path.is_file() and path.relative_to(self.tree) not in files:
                path.unlink()
        for file in files:
            source, copy = ROOT / file, self.tree / file
            if not copy.is_file() or copy.read_bytes() != source.read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
                shutil.copymode(source, copy)

    def copied_to(self, root):
        other = Workshop(root)
        shutil.rmtree(other.tree, ignore_errors=True)
        shutil.copytree(self.tree, other.tree)
        if not other.target.exists():
            shutil.copytree(self.target, other.target)
        return other

    def verdict(self, mutant):
        path = self.tree / mutant["file"]
        sound = path.read_text()
        path.write_text(sound.replace(mutant["old"], mutant["new"]))
        try:
            verdict, output = self.run(mutant["check"])
        finally:
            path.write_text(sound)
        if verdict == "does not compile":
            print(output, file=sys.stderr)
        return verdict

    def run(self, check):
        """Builds a check and runs it: what became of it, and what it printed."""
        *target, test = check.split()
        build = ["cargo", "test", *target, "--no-run", "--message-format=json-render-diagnostics"]
        status, messages, output = self.process(build)
        if status != 0:
            return "does not compile", output
        built = [json.loads(line) for line in messages.splitlines()]
        programs = [message["executable"] for message in built if message.get("executable") and message["profile"]["test"]]
        for program in programs:
            status, printed, errors = self.process([program, test], PATIENCE)
            output += printed + errors
            if status is None:
                return "caught: it hangs", output
            if status != 0:
                return "caught", output
        return "survived", output

    def process(self, command, patience=None):
        """Its exit status, `None` if it did not end in time, and what it wrote to both outputs."""
        variables = FAST_BUILD | {"CARGO_TARGET_DIR": str(self.target), "CARGO_TERM_COLOR": "never"}
        process = subprocess.Popen(
            command,
            cwd=self.tree,
            env=os.environ | variables | {"CARGO_MANIFEST_DIR": str(self.tree)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=patience)
            return process.returncode, output, errors
        except subprocess.TimeoutExpired:
            return None, "", ""
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


if __name__ == "__main__":
    main()
