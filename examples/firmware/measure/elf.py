"""What both measurements ask of a linked program."""

import re
import subprocess

TOOLS = "22"


def run(tool, *arguments, text=None):
    command = [f"{tool}-{TOOLS}", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=text).stdout


def short(path):
    """A source file without the directories that only this machine has."""
    for pattern, name in [
        (r".*/library/(.*)", r"\1"),
        (r".*/([\w-]+)-\d+\.\d+\.\d+[^/]*/(src/.*)", r"\1/\2"),
        (r".*/examples/firmware/\w+/(.*)", r"the program/\1"),
        (r".*/(src/.*)", r"bowline/\1"),
    ]:
        if re.match(pattern, path):
            return re.sub(pattern, name, path)
    return path


def sources(program, addresses):
    """For each address the file, line and function that its code was written in; of the core library, that it is used in."""
    asked = "".join(f"{address:#x}\n" for address in addresses)
    answers = run("llvm-symbolizer", f"--obj={program}", "--inlines", text=asked).strip().split("\n\n")
    found = {}
    for address, answer in zip(addresses, answers, strict=True):
        lines = answer.splitlines()
        frames = [(short(where.rsplit(":", 2)[0]), where.split(":")[-2], name) for name, where in zip(lines[::2], lines[1::2])]
        found[address] = next((frame for frame in frames if not frame[0].startswith("core/")), frames[-1])
    return found
