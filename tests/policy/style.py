"""House rules that a program can hold; clang-format holds the rest."""

import re

from tree import lines_matching

LONGEST_FILE_LINES = 800
LONGEST_LINE = 120
NOT_WRITTEN_BY_US = ("LICENSE", "tools/peers/go.sum", "tests/fuzz/corpus/", "tests/vectors/")
# Folder to how often it may expose a secret. Growth is meant to be noticed: raise a number only with a reason.
MOST_EXPOSURES = {
    "clients/agent": 4,
    "clients/cli": 19,
    "clients/enrol": 5,
    "lib/backup": 6,
    "lib/base": 1,
    "lib/crypto": 9,
    "lib/device": 6,
    "lib/keys": 20,
    "lib/sas": 10,
    "lib/transport": 6,
    "services/enrolld": 7,
    "services/keyd": 8,
    "services/taskd": 6,
}

# A moment may be random, for tests that kill; a fixed one is a guess how long something takes.
SLEEP = re.compile(r"^(?!.*random).*(\b(sleep_for|sleep_until|usleep|nanosleep|SleepFor)\b|\btime\.sleep\("
                   r"|(?<![\w\"'.])sleep\()")
# In two halves, so that this file passes.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
MACHINE_PATH = re.compile(r"(?<![\w.\-{}$])/(root|home|work|Users)/[\w.]")
VAGUE_NAME = re.compile(r"(^|[/_])(utils?|helpers?|managers?|misc|common)([_.]|$)")
ABSEIL_LOCKS = re.compile(r"#\s*include\s+[\"<]absl/(synchronization|log)/")
BANNED = (
    (re.compile(r"\bstd::string_view\b"), "use absl::string_view: Debian's Abseil has its own, and the two do not mix"),
    (re.compile(r"#\s*include\s+[\"<]absl/(synchronization/(?!mutex)|log/)"),
     "use lib/base/mutex.h and lib/base/log.h"),
    (re.compile(r"\babsl::(Mutex|MutexLock|CondVar|Notification)\b"), "use lib/base/mutex.h (docs/adr/0003-mutex.md)"),
    (re.compile(r"^\s*throw\b"), "errors are absl::Status; no exceptions"),
    (re.compile(r"\bLog(Info|Warning|Error)\(.*\bExpose\("), "a secret must not be logged"),
)
# Switches off the detector of deadlocks that Debian builds into Abseil.
EXCEPTED = {ABSEIL_LOCKS: ("lib/rpc/process.cc",)}


def ours(tree, *suffixes):
    return [(path, text) for path, text in tree.select(*suffixes) if not path.startswith(NOT_WRITTEN_BY_US)]


def is_test(path):
    return path.startswith("tests/") or "_test." in path


def no_sleeping_tests(tree):
    """Tests wait for what they wait for, never for a time."""
    problems = []
    for path, text in ours(tree, ".cc", ".h", ".py"):
        if is_test(path) and not path.startswith("tests/policy/"):
            problems += lines_matching(path, text, SLEEP, "a test waits for an event or moves a FakeClock")
    return problems


def nothing_unfinished(tree):
    problems = []
    for path, text in ours(tree, ""):
        problems += lines_matching(path, text, UNFINISHED, "do it, or say in the documentation that it is missing")
    return problems


def sizes(tree):
    """Files that one can read, lines that fit."""
    problems = []
    for path, text in ours(tree, ""):
        if text.count("\n") > LONGEST_FILE_LINES:
            problems.append("%s: %d lines; split it by subject" % (path, text.count("\n")))
    for path, text in ours(tree, ".h", ".cc", ".proto", ".py", ".bzl", ".bazel", ".sh"):
        problems += lines_matching(path, text, re.compile(".{%d}" % (LONGEST_LINE + 1)), "over 120 columns")
    for path, text in ours(tree, ""):
        if text and not text.endswith("\n"):
            problems.append("%s: does not end in a newline" % path)
        problems += lines_matching(path, text, re.compile(r"[ \t]+$"), "white space at the end")
    return problems


def no_machine(tree):
    """Nothing names a path that only one machine has."""
    problems = []
    for path, text in ours(tree, ""):
        problems += lines_matching(path, text, MACHINE_PATH, "a path of one machine")
    return problems


def names(tree):
    """Files are named after their subject; header guards after the file."""
    problems = []
    for path, text in tree.cpp():
        if VAGUE_NAME.search(path):
            problems.append("%s: name it after its subject" % path)
        if path.endswith(".h"):
            guard = "PARLEY_" + re.sub(r"[^A-Z0-9]", "_", path.upper()) + "_"
            if "#ifndef %s\n#define %s\n" % (guard, guard) not in text:
                problems.append("%s: the include guard is not %s" % (path, guard))
    return problems


def language(tree):
    """What the language offers and we do not use."""
    problems = []
    for path, text in tree.cpp():
        for pattern, sentence in BANNED:
            if path not in EXCEPTED.get(pattern, ()):
                problems += lines_matching(path, text, pattern, sentence)
    return problems


def exposures(tree):
    """Secrets come out of their wrapper in no more places than were agreed."""
    counts = {}
    for path, text in tree.cpp():
        if not is_test(path) and not path.startswith(("bench/", "lib/base/secret.")):
            folder = "/".join(path.split("/")[:2])
            counts[folder] = counts.get(folder, 0) + text.count("Expose()")
    return ["%s: secrets are exposed %d times, %d were agreed (MOST_EXPOSURES in tests/policy/style.py)" %
            (folder, count, MOST_EXPOSURES.get(folder, 0)) for folder, count in sorted(counts.items())
            if count > MOST_EXPOSURES.get(folder, 0)]


CHECKS = (no_sleeping_tests, nothing_unfinished, sizes, no_machine, names, language, exposures)
