#!/usr/bin/env python3
"""Counts which lines of the crate its tests run, and lists those of the core that none runs.

The core is all of `src/` but the drivers, which have a figure of their own. What is there for tests alone counts neither as
code nor as covered. Each line of the core that is not run has to stand in `docs/coverage.md`, under the reason for it; a line
that stands there and is run, or a share below the threshold, is a failure as well.

Needs Python 3.11 and rustup's toolchain; installs cargo-llvm-cov and LLVM's tools if they are missing.
"""

import argparse
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REASONS = ROOT / "docs" / "coverage.md"
TRACE = ROOT / "target" / "coverage.lcov"
CARGO_LLVM_COV = "0.9.1"

# Of the lines of the core, in percent.
THRESHOLD = 98

# All of `cargo test`: with 2 000 seeds of the simulator, the corpora of the fuzzers, and the demo, whose processes count as
# well unless they are killed. Then peers in another language.
RUNS = [["test"], ["test", "--test", "interop", "--", "--ignored"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="show what the last run has counted, without another run")
    if not parser.parse_args().report:
        install()
        cargo("llvm-cov", "clean", "--workspace")
        for run in RUNS:
            cargo("llvm-cov", *run[:1], "--no-report", *run[1:])
    TRACE.parent.mkdir(exist_ok=True)
    cargo("llvm-cov", "report", "--lcov", "--output-path", str(TRACE))

    files = [File(name, counts) for name, counts in sorted(read_trace().items()) if is_code(name)]
    core = [file for file in files if not file.name.startswith("src/drivers/")]
    show("core", core)
    show("drivers", [file for file in files if file not in core])
    print("\nNot run:")
    for file in core:
        for number in file.missed:
            print(f"  {file.name}:{number}: {file.text[number - 1].strip()}")

    complaints = list(misfits(core))
    if share(core) < THRESHOLD:
        complaints.append(f"{share(core):.2f} % of the lines of the core are run, less than {THRESHOLD} %")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(bool(complaints))


def install():
    if subprocess.run(["cargo", "llvm-cov", "--version"], capture_output=True, check=False).returncode != 0:
        cargo("install", "cargo-llvm-cov", "--version", CARGO_LLVM_COV, "--locked")
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip()
    if not any(Path(sysroot).glob("lib/rustlib/*/bin/llvm-cov*")):
        subprocess.run(["rustup", "component", "add", "llvm-tools"], check=True)


def cargo(*arguments):
    print("+ cargo", *arguments, flush=True)
    status = subprocess.run(["cargo", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
    if status != 0:
        sys.exit(f"cargo {arguments[0]} has failed")


def read_trace():
    """How often each line of each file was run."""
    files = {}
    for record in TRACE.read_text().splitlines():
        kind, _, value = record.partition(":")
        if kind == "SF":
            counts = files.setdefault(str(Path(value).relative_to(ROOT)), Counter())
        elif kind == "DA":
            number, count = value.split(",")[:2]
            counts[int(number)] += int(count)
    return files


def is_code(name):
    path = Path(name)
    return path.parts[0] == "src" and "tests" not in path.parts and path.name not in ("tests.rs", "vectors.rs")


class File:
    """A file, without what is there for tests alone."""

    def __init__(self, name, counts):
        self.name = name
        self.text = (ROOT / name).read_text().splitlines()
        tests = lines_of_tests(self.text)
        self.lines = sorted(number for number in counts if number not in tests)
        self.missed = [number for number in self.lines if counts[number] == 0]

    def key(self, number):
        """Names a line by its file, its function and its text, which stay when lines above it come and go."""
        above = "\n".join(self.text[:number])
        functions = re.findall(r"\bfn (\w+)", above)
        return self.name, functions[-1] if functions else "", self.text[number - 1].strip()


def lines_of_tests(text):
    """The numbers of the lines of items behind `#[cfg(test)]`. An item ends with a brace, or a line, that is no deeper."""
    numbers, indent = set(), None
    for number, line in enumerate(text, 1):
        if indent is None and (attribute := re.fullmatch(r"( *)#\[cfg\(test\)\]", line)):
            indent = attribute[1]
        if indent is not None:
            numbers.add(number)
            if line == indent + "}" or line.endswith(";") and not line.startswith(indent + " "):
                indent = None
    return numbers


def show(title, files):
    print("\n  lines  not run      run")
    for file in files:
        print(f"{len(file.lines):7}  {len(file.missed) or '':>7} {share([file]):6.2f} %  {file.name}")
    lines, missed = (sum(len(part) for part in parts) for parts in zip(*[(file.lines, file.missed) for file in files]))
    print(f"{lines:7}  {missed:7} {share(files):6.2f} %  {title}")


def share(files):
    """Percent of the lines that are run."""
    lines, missed = sum(len(file.lines) for file in files), sum(len(file.missed) for file in files)
    return 100 - 100 * missed / max(1, lines)


def misfits(core):
    """Where the list of reasons and the lines that are not run differ."""
    listed = Counter(re.findall(r"^- `(src/[^`]+)`, `(\w+)`: `(.+)`$", REASONS.read_text(), re.MULTILINE))
    missed = Counter(file.key(number) for file in core for number in file.missed)
    for name, function, text in missed - listed:
        yield f"{name}, {function}: `{text}` is not run, and docs/coverage.md has no reason"
    for name, function, text in listed - missed:
        yield f"{name}, {function}: `{text}` is run, or not there, but docs/coverage.md says that it is not run"


if __name__ == "__main__":
    main()
