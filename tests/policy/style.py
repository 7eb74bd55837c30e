"""House rules that a program can hold; clang-format holds the rest."""

import re

from cpp import is_class, statements
from tree import lines_matching

LONGEST_FILE_LINES = 600
LONGEST_FUNCTION_LINES = 60
LONGEST_LINE = 120
# Written by a program, or data that is looked up and not read.
ANY_LENGTH = ("docs/api/", "deploy/monitoring/grafana_dashboard.json")
NOT_WRITTEN_BY_US = ("LICENSE", "tools/peers/go.sum", "tests/fuzz/corpus/", "tests/vectors/")
# Folder to how often it may expose a secret. Growth is meant to be noticed: raise a number only with a reason.
MOST_EXPOSURES = {
    "clients/agent": 4,
    "clients/cli": 15,
    "clients/enrol": 5,
    "clients/operator": 4,
    "lib/backup": 6,
    "lib/base": 1,
    "lib/crypto": 9,
    "lib/device": 6,
    "lib/keys": 20,
    "lib/sas": 10,
    "lib/transport": 7,
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
EXCEPTED = {ABSEIL_LOCKS: ("lib/service/process.cc",)}


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
        if text.count("\n") > LONGEST_FILE_LINES and not path.startswith(ANY_LENGTH):
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


# What is like a call and no method: a template's arguments, an annotation, a default value.
NO_METHOD = re.compile(r"<.*>|ABSL_\w+\([^()]*\)|^(using|friend|static_assert) .*")
TEST_HEADER = re.compile(r"testing|/fake_|_test\.h$")
TYPE = re.compile(r"(?:template <.*> )?(?:class|struct|union|enum class|enum) (?:ABSL_\w+ )?(\w+)( final)?( :.*)? {")
FORWARD_DECLARATION = re.compile(r"(class|struct|enum class) [\w: ]+;$|//|$")


def functions(tree):
    """Functions that one can read: a body ends at `}` below the first letter of its beginning."""
    problems = []
    for path, text in ours(tree, ".h", ".cc"):
        for first, last, _, statement, _ in statements(text):
            if last - first >= LONGEST_FUNCTION_LINES and re.search(r"\{\}$", statement):
                problems.append("%s:%d: %d lines; give the steps of this function names" %
                                (path, first + 1, last - first + 1))
    return problems


def namespaces(tree):
    """One namespace a folder; a header may open another one to declare what it does not define."""
    found = {}
    for path, text in tree.cpp():
        if path.startswith(("bench/", "third_party/", "clients/samples/")):
            continue
        for match in re.finditer(r"^namespace (parley[\w:]*) \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE):
            if path.endswith(".cc") or not all(map(FORWARD_DECLARATION.match, match.group(2).split("\n"))):
                found.setdefault(path.rsplit("/", 1)[0], {}).setdefault(match.group(1), path)
    return ["%s: opens %s, and %s opens %s" % (path, namespace, first, min(by)) for by in found.values()
            for first in [by[min(by)]] for namespace, path in sorted(by.items())
            if not (namespace + "::").startswith(min(by) + "::")]


def public_headers(tree):
    return ((path, text) for path, text in ours(tree, ".h") if path.startswith(("lib/", "services/", "clients/")))


def purposes(tree):
    """Every header begins with its purpose: a comment whose first paragraph is at least one sentence."""
    problems = []
    for path, text in public_headers(tree):
        paragraph = re.match(r"(?:// *\S.*\n)*", text).group().replace("\n//", "").strip()
        if not re.fullmatch(r"// *\W?[A-Z0-9]\S*( +\S+){3,}[.:]", paragraph):
            problems.append("%s: begins with a sentence that says what it is for" % path)
    return problems


def product_headers(tree):
    return ((path, text) for path, text in public_headers(tree)
            if not TEST_HEADER.search(path) and "gtest/gtest.h" not in text)


def threads(tree):
    """A header that defines a class or struct with a method says which threads may call it: a sentence that begins with
    "Threads:" in its first comment or in one of the class. Not asked of what only tests include."""
    problems = []
    for path, text in product_headers(tree):
        if not re.search(r"^ *// (.*\. )?Threads: ", text, re.M):
            for first, _, indentation, statement, _ in statements(text):
                if indentation and re.search(r"\w\(", NO_METHOD.sub("", statement.split(" = ")[0])):
                    problems.append("%s:%d: a class with methods, and no line \"Threads:\"" % (path, first + 1))
                    break
    return problems


def errors(tree):
    """What returns a status says which: its comment, that of its class or the header's first one has a name in capitals
    (a code or a reason) or the word error, fail or refuse. Not asked of what is private, overrides or is for tests."""
    says = re.compile(r"\b[A-Z]+_[A-Z_]+\b|\b[A-Z]{5,}\b|\b([Ee]rrors?|[Ff]ail(s|ed|ure|ures)?|[Rr]efus\w+)\b")
    returns = re.compile(r"(\[\[nodiscard\]\] |static |virtual |inline )*absl::Status(Or<.*>)? \w+\(")
    problems = []
    for path, text in product_headers(tree):
        opened = [re.match(r"(//.*\n)*", text).group()]
        private = {}
        for first, _, indentation, statement, comment in statements(text):
            level = indentation // 2 + 1
            del opened[level:]
            if statement.endswith(":"):
                private[level] = statement == "private:"
            elif is_class(statement):
                opened += [comment]
                private[level + 1] = False
            elif (returns.match(statement) and not private.get(level if indentation else None) and
                  not re.search(r"\boverride\b", statement) and not says.search(comment + "".join(opened))):
                problems.append("%s:%d: returns a status, and no comment says which errors" % (path, first + 1))
    return problems


def first_words(tree):
    """A comment is a sentence of its own; these words go on with one that the reader does not see."""
    problems = []
    for path, text in ours(tree, ".h", ".cc", ".proto"):
        before = ""
        for number, line in enumerate(text.split("\n"), 1):
            word = re.match(r".*?// (Of|That|Then|As)\b", line)
            if word and not (line.strip().startswith("//") and before.strip().startswith("//")):
                problems.append("%s:%d: a comment that begins with %s" % (path, number, word.group(1)))
            before = line
    return problems


def type_names(tree):
    """No two folders define a type of the same name; a type inside another is told apart by that one."""
    found = {}
    for path, text in public_headers(tree):
        for _, _, indentation, statement, _ in statements(text):
            name = TYPE.match(statement)
            if name and not indentation:
                found.setdefault(name.group(1), {}).setdefault(path.rsplit("/", 1)[0], path)
    return ["%s: %s is defined in %s too" % (paths[-1], name, paths[0])
            for name, paths in sorted((name, sorted(by.values())) for name, by in found.items()) if len(paths) > 1]


CHECKS = (no_sleeping_tests, nothing_unfinished, sizes, functions, no_machine, names, namespaces, type_names, language,
          exposures, purposes, threads, errors, first_words)
