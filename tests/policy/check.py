"""Runs one subject of the policy checks: prints a line for each problem and ends with 1 when there are any.

    check.py layering | style | api | aip | lint | breaking | reference | binaries FILE…
"""

import importlib
import sys

from tree import Tree


def main():
    subject = sys.argv[1]
    module = importlib.import_module(subject)
    if subject == "binaries":
        problems = module.check(sys.argv[2:])
    else:
        tree = Tree.tracked()
        looked_at = module.compile_protos(tree) if hasattr(module, "compile_protos") else tree
        problems = [problem for check in module.CHECKS for problem in check(looked_at)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
