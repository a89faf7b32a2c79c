#!/usr/bin/env python3
"""Breaks the core in every way that cargo-mutants knows, and demands that a unit test fails or that the survivor is explained.

    tests/mutants/every.py [FILE…]   all of the core, or only these files; --jobs N at a time
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

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "mutants" / "every"
OUTPUT = WORK / "mutants.out"
EXPLAINED = ROOT / "docs" / "mutants.md"
# Tests that take longer than all others together where nothing is optimised.
SLOW = [
    "a_corrupt_byte_never",
    "a_stale_call_cancels_no",
    "full_size_publishes",
    "h7_telemetry_into",
    "no_66_packets",
    "nothing_spins_with_odd_times",
    "packets_stay_long_where",
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


def run(files, jobs):
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
    for rest in (["--", "--lib", "--", *skips], ["--iterate", "--", "--lib"]):
        # 0 if all were caught, 2 if not, 3 if a test ran out of time, which counts as caught.
        if subprocess.run([*command, *rest], cwd=tree, env=environment).returncode not in (0, 2, 3):
            sys.exit("cargo-mutants did not come to an end")


def names(kind):
    """Mutants with this fate, without the lines that they stand in: those change."""
    path = OUTPUT / f"{kind}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [re.sub(r":\d+:\d+: ", ": ", line) for line in lines]


def judge(is_whole):
    survivors = set(names("missed"))
    # Those that do not compile are among the ones that the first pass has dealt with.
    dealt_with = sum(len(names(kind)) for kind in ("previously_caught", "caught", "timeout", "unviable"))
    print(f"{dealt_with} caught or not viable, {len(names('missed'))} survive")
    explained = set(re.findall(r"^- `(src/.*)`$", EXPLAINED.read_text(), re.M))
    for name in sorted(survivors - explained):
        print(f"survives and is not explained: {name}")
    outdated = sorted(explained - survivors) if is_whole else []
    for name in outdated:
        print(f"explained, and does not survive: {name}")
    sys.exit(bool(survivors - explained or outdated))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    if not arguments.report:
        run(arguments.files, arguments.jobs)
    judge(is_whole=not arguments.files)


if __name__ == "__main__":
    main()
