"""Measures one build, or two in turn: rounds.py [--earlier PROGRAMS] [--rounds N] COMMAND…

The command measures the programs below the folder PARLEY_PROGRAMS once, and prints `figure NAME VALUE UNIT` lines.

Prints `figure NAME VALUE UNIT` for each, the median over the rounds. With the programs of an earlier build it measures
both in each round, whichever was second before is first now, prints `figure earlier_NAME VALUE UNIT` for those, and
`ratio NAME VALUE LOW HIGH`: this build's figure to the earlier one's of the same round, the median and the extremes.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys

PROGRAMS = pathlib.Path(__file__).parents[1] / ".tools/bin"
# The processes that want to run, on average over the minute before: what else the machine does.
LOAD = "load_before"


class Figures:
    """What one round has measured of one build. What it measures several times counts by its median."""

    def __init__(self):
        self.values = {}
        self.units = {}
        self.add(LOAD, os.getloadavg()[0], "processes")

    def add(self, name, value, unit):
        self.values.setdefault(name, []).append(value)
        self.units[name] = unit

    def medians(self):
        return {name: statistics.median(values) for name, values in self.values.items()}


def in_turn(measure, programs, earlier=None, rounds=None):
    """Measures the programs, and the earlier ones if there are any. `measure` takes a folder and returns Figures.

    Without a number there is one round, or four of two builds.
    """
    ours, theirs = [], []
    for number in range(rounds or (4 if earlier else 1)):
        turns = [(programs, ours)] + ([(earlier, theirs)] if earlier else [])
        for folder, measured in reversed(turns) if number % 2 else turns:
            measured.append(measure(folder))
    report(ours, theirs)


def report(ours, theirs):
    units = ours[0].units
    medians, others = ([figures.medians() for figures in each] for each in (ours, theirs))
    for prefix, all_rounds in (("", medians), ("earlier_", others)):
        for name, unit in units.items():
            if all_rounds:
                print("figure %s%s %.4g %s" % (prefix, name, statistics.median(one[name] for one in all_rounds), unit))
    for name in [name for name in units if name != LOAD]:
        ratios = [ours[name] / theirs[name] for ours, theirs in zip(medians, others) if theirs[name] > 0]
        if ratios:
            print("ratio %s %.2f %.2f %.2f" % (name, statistics.median(ratios), min(ratios), max(ratios)))


def add_options(parser):
    parser.add_argument("--earlier", metavar="PROGRAMS", help="an earlier build's bazel-bin")
    parser.add_argument("--rounds", type=int, help="1 if not given, 4 if there is an earlier build")


def run(command, programs):
    """Runs the command for the programs in a folder. Returns its figures."""
    figures = Figures()
    with subprocess.Popen(command, env={**os.environ, "PARLEY_PROGRAMS": str(programs)}, stdout=subprocess.PIPE,
                          text=True) as process:
        for line in process.stdout:
            kind, name, value, unit = line.rstrip("\n").split(" ", 3)
            assert kind == "figure", line
            figures.add(name, float(value), unit)
    if process.returncode != 0:
        sys.exit(process.returncode)
    return figures


def main():
    arguments = argparse.ArgumentParser()
    add_options(arguments)
    arguments.add_argument("command", nargs=argparse.REMAINDER)
    options = arguments.parse_args()
    in_turn(lambda programs: run(options.command, programs), PROGRAMS, options.earlier, options.rounds)


if __name__ == "__main__":
    main()
