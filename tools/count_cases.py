"""Counts the test cases of Bazel targets from their test.xml: prints `N passed, N failed`, and names the failed."""

import glob
import os
import re
import sys
import xml.etree.ElementTree


def unittest_cases(text):
    """(passed, failed) as Python's unittest says at its end; None when it does not."""
    ran = re.findall(r"^Ran (\d+) tests? in", text, re.MULTILINE)
    if not ran:
        return None
    counts = dict(re.findall(r"(failures|errors|skipped)=(\d+)", text[text.rindex("\nRan "):]))
    failed = int(counts.get("failures", 0)) + int(counts.get("errors", 0))
    return int(ran[-1]) - failed - int(counts.get("skipped", 0)), failed


def reports(logs, target):
    """The target's test.xml; one for each part of a sharded one."""
    folder = os.path.join(logs, target.lstrip("@/").replace(":", "/"))
    return sorted(glob.glob(os.path.join(folder, "shard_*", "test.xml"))) or [os.path.join(folder, "test.xml")]


def cases(path, target):
    """(passed, names of the failed) of one report; a missing one counts as one failed case."""
    try:
        tree = xml.etree.ElementTree.parse(path)
    except (OSError, xml.etree.ElementTree.ParseError):
        return 0, [f"{target} (did not run)"]
    python = unittest_cases("".join(output.text or "" for output in tree.iter("system-out")))
    if python is not None:
        return python[0], [f"{target} (see its log)"] * python[1]
    passed, failed = 0, []
    for case in tree.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{target} {case.get('classname', '')}.{case.get('name', '')}")
        elif case.find("skipped") is None and case.get("status") != "notrun":
            passed += 1
    return passed, failed


def main():
    passed, failed = 0, []
    for target in sys.argv[2:]:
        for report in reports(sys.argv[1], target):
            report_passed, report_failed = cases(report, target)
            passed += report_passed
            failed += report_failed
    for name in failed:
        print(f"failed: {name}")
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
