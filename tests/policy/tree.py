"""The files under version control, as the policy checks see them."""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)


class Tree:
    """Paths below the workspace to their text; binary files are left out."""

    def __init__(self, files):
        self.files = files
        self._includes = {}

    @classmethod
    def tracked(cls):
        # A checkout that belongs to somebody else, as continuous integration may have it, is read all the same.
        names = subprocess.run(["git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "-z"], check=True,
                               capture_output=True).stdout.decode().split("\0")
        files = {}
        for name in filter(None, names):
            path = ROOT / name
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                if b"\0" not in content:
                    files[name] = content.decode("utf-8", "surrogateescape")
        return cls(files)

    def select(self, *suffixes, under=""):
        """(path, text) of the files with one of these suffixes."""
        for path, text in sorted(self.files.items()):
            if path.startswith(under) and path.endswith(suffixes):
                yield path, text

    def cpp(self, under=""):
        return self.select(".h", ".cc", under=under)

    def includes(self, path):
        """[(line, what is included)] of one file."""
        if path not in self._includes:
            text = self.files[path]
            self._includes[path] = [(text.count("\n", 0, match.start(1)) + 1, match.group(1))
                                    for match in INCLUDE.finditer(text)]
        return self._includes[path]

    def reached(self, path):
        """Everything that a file includes, through the workspace's own headers too: {what: the chain to it}."""
        found, waiting = {}, [(path, (path,))]
        while waiting:
            here, chain = waiting.pop()
            for _, what in self.includes(here):
                if what not in found:
                    found[what] = chain + (what,)
                    if what in self.files:
                        waiting.append((what, found[what]))
        return found


def lines_matching(path, text, pattern, sentence):
    """A problem for each line that the pattern is found in."""
    return ["%s:%d: %s" % (path, number, sentence) for number, line in enumerate(text.split("\n"), 1)
            if pattern.search(line)]
