"""The check of the API against its last release, on repositories made for it."""

import pathlib
import subprocess
import tempfile
import unittest

import breaking
from tree import Tree

PROTO = """syntax = "proto3";
package parley.sample.v1;
message Task {
  string name = 1;
  string title = 2;
}
"""


class Breaking(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.git("init", "-q")
        (self.root / "buf.yaml").write_text((breaking.ROOT / "buf.yaml").read_text())
        self.commit(PROTO, "0.1.0")

    def git(self, *arguments):
        subprocess.run(["git", "-C", self.root, "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments],
                       check=True, capture_output=True)

    def commit(self, proto, version):
        for path, text in (("proto/parley/sample/v1/task.proto", proto),
                           (breaking.VERSION_FILE, 'VERSION = "%s"\n' % version)):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
        self.git("add", ".")
        self.git("commit", "-q", "-m", "a")

    def test_before_the_first_release_everything_may_change(self):
        self.commit(PROTO.replace("title = 2", "title = 3"), "0.1.0")
        self.assertEqual(breaking.compare(self.root), [])

    def test_a_new_field_breaks_nobody(self):
        self.git("tag", "v0.1.0")
        self.commit(PROTO.replace("}", "  string etag = 3;\n}"), "0.1.0")
        self.assertEqual(breaking.compare(self.root), [])

    def test_a_removed_field_a_new_number_and_a_new_name_are_found(self):
        self.git("tag", "v0.1.0")
        for proto in (PROTO.replace("  string title = 2;\n", ""), PROTO.replace("title = 2", "title = 3"),
                      PROTO.replace("title", "heading"), PROTO.replace("string title", "bytes title")):
            self.commit(proto, "0.1.1")
            problems = breaking.compare(self.root)
            self.assertTrue(problems, proto)
            self.assertIn("since v0.1.0", problems[0])

    def test_a_raised_version_announces_the_break(self):
        self.git("tag", "v0.1.0")
        self.commit(PROTO.replace("title", "heading"), "0.2.0")
        self.assertEqual(breaking.compare(self.root), [])

    def test_from_1_on_only_the_first_number_announces_it(self):
        self.assertFalse(breaking.may_break((1, 0, 0), (1, 1, 0)))
        self.assertTrue(breaking.may_break((1, 9, 0), (2, 0, 0)))
        self.assertTrue(breaking.may_break((0, 9, 0), (1, 0, 0)))

    def test_the_newest_release_counts_and_other_tags_do_not(self):
        self.git("tag", "v0.1.0")
        self.commit(PROTO.replace("title", "heading"), "0.2.0")
        self.git("tag", "v0.2.0")
        self.git("tag", "demo")
        self.assertEqual(breaking.last_release(self.root), "v0.2.0")
        self.assertEqual(breaking.compare(self.root), [])

    def test_a_version_that_stands_elsewhere_too_is_found(self):
        tree = Tree.tracked()
        self.assertEqual(breaking.one_version(tree), [])
        tree.files["tools/install"] = tree.files["tools/install"].replace("--version 0.1.0", "--version 0.0.9")
        self.assertEqual(len(breaking.one_version(tree)), 1)


if __name__ == "__main__":
    unittest.main()
