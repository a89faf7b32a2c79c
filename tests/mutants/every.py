#!/usr/bin/env python3
"""Breaks the core in every way that cargo-mutants knows, and demands that a unit test fails or that the survivor is explained.

    tests/mutants/every.py [FILE…]   all of the core, or only these files; --jobs N at a time
    tests/mutants/every.py --again   tries what survived the last run once more
    tests/mutants/every.py --report  judges the last run once more

Survivors are explained in docs/mutants.md, a line each; what is listed there and is caught now is an error as well. It works on a copy
of the tree without integration tests, examples and the drivers that need an operating system: a mutant takes two seconds.
Needs `cargo install cargo-mutants --version 27.1.0 --locked`.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "mutants" / "every"
OUTPUT = WORK / "mutants.out"
EXPLAINED = ROOT / "docs" / "mutants.md"
# Tests that take longer than all others together where nothing is optimised.
SLOW = [
    "a_corrupt_byte_never",
    "a_node_with_fewer_slots_hears",
    "a_notify_of_a_straggler_is_not",
    "a_short_sequence_that_is_half",
    "a_stale_call_cancels_no",
    "full_size_publishes",
    "h7_telemetry_into",
    "long_sequences_break_no_promise",
    "no_66_packets",
    "nothing_spins_with_odd_times",
    "notifies_that_lie_ready",
    "packets_stay_long_where",
    "packets_that_overtake_each_other_by_hundreds",
    "publishes_that_fill_every",
    "random_data_of_every_length",
    "the_largest_frame_is_taken",
    "what_the_cobs_crate_encodes",
]


def fill(tree):
    """Copies what is tracked, and leaves out what makes every build longer and no unit test different."""
    shutil.rmtree(tree, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    manifest = (tree / "Cargo.toml").read_text()
    manifest = re.sub(r"^bowline = .*\n", "", manifest, flags=re.M)
    manifest = re.sub(r"^\[workspace\]\n(?:[^\[\n].*\n)*", "[workspace]\n", manifest, flags=re.M)
    manifest = re.sub(r"^\[\[(?:test|bench|example)\]\]\n(?:[^\[\n].*\n)*", "", manifest, flags=re.M)
    manifest = manifest.replace("[package]\n", "[package]\nautotests = false\nautobenches = false\nautoexamples = false\n")
    (tree / "Cargo.toml").write_text(manifest)


def run(files, jobs, again):
    tree = WORK / "tree"
    fill(tree)
    environment = dict(os.environ, RUST_BACKTRACE="0", CARGO_INCREMENTAL="1")
    for profile in ("DEV", "TEST"):
        environment[f"CARGO_PROFILE_{profile}_DEBUG"] = environment[f"CARGO_PROFILE_{profile}_OPT_LEVEL"] = "0"
    config = (HERE / "every.toml").read_text()
    if files:
        config = re.sub(r"^examine_globs = \[[^\]]*\]", f"examine_globs = {json.dumps(files)}", config, flags=re.M)
    (WORK / "every.toml").write_text(config)
    command = ["cargo", "mutants", "--config", WORK / "every.toml", "--jobs", str(jobs), "--timeout", "15", "--output", WORK]
    skips = [argument for test in SLOW for argument in ("--skip", test)]
    # What survives the quick tests is held against all.
    for rest in ["--iterate"] * again + ["--", "--lib", "--", *skips], ["--iterate", "--", "--lib"]:
        # 0 if all were caught, 2 if not, 3 if a test ran out of time, which counts as caught.
        if subprocess.run([*command, *rest], cwd=tree, env=environment).returncode not in (0, 2, 3):
            sys.exit("cargo-mutants did not come to an end")


def fate(kind):
    """Mutants with this fate, each as its file, line and column, and what was changed there."""
    path = OUTPUT / f"{kind}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    mutants = [re.fullmatch(r"(.*?):(\d+):(\d+): (.*)", line).groups() for line in lines]
    # cargo-mutants does not look for these names where a field is left out.
    excluded = tomllib.loads((HERE / "every.toml").read_text())["exclude_re"]
    return [mutant for mutant in mutants if not any(re.search(pattern, mutant[3]) for pattern in excluded)]


def leaves_code_in(mutant):
    """`S::CALLS > 0` leaves code out of programs that have no memory for it. Left in, it finds nothing to do."""
    file, line, column, change = mutant
    if change.startswith("replace > with >= "):
        text = (WORK / "tree" / file).read_text().splitlines()[int(line) - 1]
        return bool(re.search(r"S::[A-Z_]+ $", text[: int(column) - 1])) and text[int(column) - 1 :].startswith("> 0")
    return bool(re.match(r"replace match guard S::[A-Z_]+ > 0 with true ", change))


def judge():
    survivors = fate("missed")
    # Without the lines: those change.
    named = {f"{mutant[0]}: {mutant[3]}" for mutant in survivors if not leaves_code_in(mutant)}
    # Those that do not compile are among the ones that the first pass has dealt with.
    dealt_with = sum(len(fate(kind)) for kind in ("previously_caught", "caught", "timeout", "unviable"))
    left_in = sum(map(leaves_code_in, survivors))
    print(f"{dealt_with} caught or not viable, {len(survivors)} survive, {left_in} of which only leave code in")
    explained = set(re.findall(r"^- `(src/.*)`$", EXPLAINED.read_text(), re.M))
    for name in sorted(named - explained):
        print(f"survives and is not explained: {name}")
    looked_at = {mutant[0] for kind in ("missed", "previously_caught", "caught") for mutant in fate(kind)}
    outdated = sorted(name for name in explained - named if name.partition(":")[0] in looked_at)
    for name in outdated:
        print(f"explained, and does not survive: {name}")
    sys.exit(bool(named - explained or outdated))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    if not arguments.report:
        run(arguments.files, arguments.jobs, arguments.again)
    judge()


if __name__ == "__main__":
    main()
