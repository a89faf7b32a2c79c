#!/usr/bin/env python3
"""Counts the instructions that a host spends on bowline's hot paths, both ends together.

    benches/instructions/count.py           prints a table, with the change since counts.json was saved
    benches/instructions/count.py --save    writes counts.json
    benches/instructions/count.py --check   fails if anything takes more than counts.json says, by over 2 %

Needs valgrind and `cargo install gungraun-runner --version 0.20.0 --locked`. The counts are the same in every run; another compiler,
or a processor without an instruction for CRC-32C, makes for others.
"""

import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SAVED = HERE / "counts.json"
TOLERANCE = 0.02
# A run with a given count does a tenth more, to warm up.
EXCHANGES = {"exchange": 1.1, "lent": 1.1, "message": 1.1, "encode": 1, "decode": 1}
NAMES = {
    "call": "call of 8 bytes each way, 1 in flight",
    "calls": "the same, 8 in flight",
    "bulk": "message of 128 bytes",
    "window": "message of 32 bytes, {} under way",
    "encode": "frame of {} bytes, encoded",
    "decode": "frame of {} bytes, decoded",
}


def measure():
    """Instructions for each exchange or frame, by name."""
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True
    )
    target = pathlib.Path(json.loads(metadata.stdout)["target_directory"]) / "gungraun"
    command = ["cargo", "bench", "--quiet", "--package", "bowline-instructions", "--bench", "instructions"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    runs = {}
    for path in sorted(target.glob("**/paths/*/callgrind.*.out")):
        function, case, count = re.fullmatch(r"(\w+)\.(\w+)_(\d+)", path.parent.name).groups()
        total = re.search(r"^(?:totals|summary): (\d+)", path.read_text(errors="replace"), re.M)
        runs.setdefault((function, case), {})[int(count)] = int(total.group(1))
    counts = {}
    for (function, case), run in sorted(runs.items()):
        (short, less), (long, more) = sorted(run.items())
        kind, _, size = case.partition("_")
        name = NAMES[kind].format(size) + (", memory lent" if function == "lent" else "")
        counts[name] = round((more - less) / ((long - short) * EXCHANGES[function]))
    return counts


def main():
    mode = (sys.argv[1:] or ["--table"])[0]
    if mode not in ("--table", "--save", "--check"):
        sys.exit(__doc__)
    counts = measure()
    saved = json.loads(SAVED.read_text()) if SAVED.exists() else {}
    if mode == "--save":
        SAVED.write_text(json.dumps(counts, indent=2) + "\n")
    grown = []
    for name, count in counts.items():
        before = saved.get(name, count)
        print(f"{name:40} {count:7} {count - before:+7}")
        if count > before * (1 + TOLERANCE):
            grown.append(name)
    if mode == "--check" and (grown or counts.keys() != saved.keys()):
        sys.exit(f"more than before, or not the same: {', '.join(grown) or 'the names'}")


if __name__ == "__main__":
    main()
