"""The revisions of a task: who has published them, what differs, and how an earlier content comes back."""

import base64
import http.client
import json
import os
import shutil
import sqlite3
import ssl
import unittest
import uuid

from tests.e2e import person

FIRST = {"motd": "one\n", "sites/hello.conf": "listen 8088;\nserver_tokens off;\n", "empty": ""}
SECOND = {"motd": "one\n", "sites/hello.conf": "listen 8088;\nserver_tokens on;\n", "large": "0123456789" * 60_000}
THIRD = {"motd": "three\n"}


class History(unittest.TestCase):

    def setUp(self):
        self.person = self.enterContext(person.Person())
        self.person.up()

    def publish(self, task, files, *arguments):
        return self.person.json("task", "publish", task, "--payload", self.person.payload(files), *arguments)

    def three(self, name="site"):
        """(the task's id, the join key) of a task with three revisions."""
        task, key = self.person.create(name, FIRST, "--message", "from the template")
        self.publish(task, SECOND, "--message", "with\na large file")
        self.publish(task, THIRD)
        return task, key

    def history(self, task):
        return self.person.json("task", "history", task)["revisions"]

    def join(self, *arguments, stdin=""):
        """The revision that the client ends with, and its files."""
        into = self.person.home / "into"
        events = self.person.parley("join", "--into", into, "--state", self.person.home / "state", "--name", "web-1",
                                    "--output", "json", *arguments, stdin=stdin)
        return json.loads(events.splitlines()[-1])["revision"], person.read_files(into)

    def refused(self, *arguments):
        """(the reason, the sentence)"""
        code, output, errors = self.person.run(*arguments, "--output", "json")
        self.assertNotEqual(code, 0, output)
        error = json.loads(errors)["error"]
        return error["reason"], error["message"]

    def assert_refused(self, reason, *arguments, says=""):
        got, sentence = self.refused(*arguments)
        self.assertEqual(got, reason, sentence)
        self.assertIn(says, sentence)

    def test_an_earlier_content_comes_back_under_a_higher_number(self):
        task, key = self.person.create("site", FIRST, "--message", "from the template")
        self.assertEqual(self.join(stdin=key + "\n"), (1, FIRST))
        self.publish(task, SECOND, "--message", "with\na large file")
        self.publish(task, THIRD)
        self.assertEqual(self.join("--task", task), (3, THIRD))

        told = self.person.parley("task", "rollback", task)
        self.assertIn("r4 is on offer", told)
        self.assertIn("with the content of r2", told)
        self.assertEqual(self.join("--task", task), (4, SECOND))
        self.assertEqual(self.person.json("task", "rollback", task, "--to", "1", "--message", "back")["revision"], "5")
        self.assertEqual(self.join("--task", task), (5, FIRST))

        revisions = self.history(task)
        self.assertEqual([revision["revision"] for revision in revisions], ["5", "4", "3", "2", "1"])
        self.assertEqual([revision["message"] for revision in revisions],
                         ["back", "the content of r2 again", "", "with\na large file", "from the template"])
        self.assertEqual(len({revision["author"] for revision in revisions}), 1)
        self.assertNotEqual(revisions[0]["author"], "")
        self.assertEqual(revisions[0]["payloadDigest"], revisions[4]["payloadDigest"])
        self.assertEqual((revisions[4]["payloadFiles"], revisions[4]["payloadBytes"]), ("3", "36"))
        table = self.person.parley("task", "history", task)
        self.assertRegex(table, r"REVISION +WHEN +AUTHOR +FILES +BYTES +DIGEST +MESSAGE")
        self.assertRegex(table, r"r2 .* with a large file\n")

    def test_what_differs_is_shown(self):
        task, _ = self.three()
        shown = self.person.parley("task", "diff", task, "--from", "1", "--to", "2")
        for line in ("r1 -> r2", "- empty", "+ large", "~ sites/hello.conf", "    -server_tokens off;",
                     "    +server_tokens on;", "     listen 8088;"):
            self.assertIn(line, shown)
        self.assertNotIn("motd", shown)
        # From the one before the newest, when nothing is said.
        newest = self.person.json("task", "diff", task)
        self.assertEqual((newest["from"], newest["to"]), (2, 3))
        self.assertEqual([file["path"] for file in newest["removed"]], ["large", "sites/hello.conf"])
        self.assertEqual(newest["changed"][0]["diff"], "@@ -1,1 +1,1 @@\n-one\n+three")
        self.assertIn("nothing differs", self.person.parley("task", "diff", task, "--from", "2", "--to", "2"))
        self.assert_refused("NO_EARLIER_REVISION", "task", "diff", task, "--to", "1")

    def test_the_files_of_a_revision_are_written_into_a_new_folder(self):
        payload = self.person.payload(FIRST)
        (payload / "run").write_text("#!/bin/sh\n")
        (payload / "run").chmod(0o755)
        (payload / "link").symlink_to("sites/hello.conf")
        task = self.person.json("task", "create", "site", "--payload", payload)["task"]["name"].split("/")[1]
        self.publish(task, SECOND)
        out = self.person.home / "out"
        shown = self.person.json("task", "show", task, "--revision", "1", "--out", out)
        self.assertTrue(shown["verified"])
        self.assertEqual({file["path"] for file in shown["manifest"]["files"]}, {*FIRST, "run", "link"})
        files = person.read_files(out)
        self.assertEqual(files, {**FIRST, "run": "#!/bin/sh\n", "link": FIRST["sites/hello.conf"]})
        self.assertEqual(os.readlink(out / "link"), "sites/hello.conf")
        self.assertEqual((out / "run").stat().st_mode & 0o777, 0o755)
        self.assertEqual(out.stat().st_mode & 0o777, 0o700)
        self.assertEqual(self.person.json("task", "publish", task, "--payload", out)["payloadDigest"],
                         self.history(task)[-1]["payloadDigest"])
        # What is there stays; an empty folder will do.
        self.assert_refused("FOLDER_NOT_EMPTY", "task", "show", task, "--out", out, says="name another one")
        self.assert_refused("FOLDER_NOT_EMPTY", "task", "show", task, "--out", out / "run")
        empty = self.person.home / "empty"
        empty.mkdir()
        text = self.person.parley("task", "show", task, "--revision", "2", "--out", str(empty) + "/")
        self.assertIn("by the task's key, which is on this machine", text)
        self.assertEqual(person.read_files(empty), SECOND)

    def test_what_cannot_be_done_is_one_sentence(self):
        task, _ = self.person.create("site", FIRST)
        self.assert_refused("NO_EARLIER_REVISION", "task", "rollback", task, says="parley task publish")
        self.assert_refused("REVISION_CURRENT", "task", "rollback", task, "--to", "1", says="nothing to do")
        self.publish(task, SECOND)
        self.assert_refused("REVISION_CURRENT", "task", "rollback", task, "--to", "2", says="parley task history")
        self.assert_refused("REVISION_NOT_FOUND", "task", "rollback", task, "--to", "9", says="parley task history")
        self.assert_refused("REVISION_NOT_FOUND", "task", "show", task, "--revision", "9")
        self.assert_refused("USAGE", "task", "rollback", task, "--to", "0")
        self.assert_refused("USAGE", "task", "show", task, "--revision", "0")
        self.assert_refused("TEXT_TOO_LONG", "task", "rollback", task, "--message", "x" * 201)
        self.assert_refused("TASK_NOT_FOUND", "task", "history", "none-aaaa")

        key = self.person.home / ".config/parley/tasks" / (task + ".key")
        elsewhere = self.person.home / "elsewhere"
        key.rename(elsewhere)
        self.assert_refused("NO_TASK_KEY", "task", "rollback", task, says=str(key))
        out = self.person.home / "out"
        self.assert_refused("NO_TASK_KEY", "task", "show", task, "--out", out, says=str(key))
        self.assertIn("so the server says", self.person.parley("task", "show", task))
        self.assertFalse(self.person.json("task", "show", task)["verified"])
        elsewhere.rename(key)

        self.person.parley("task", "abort", task)
        self.assert_refused("TASK_ENDED", "task", "rollback", task, says="create another task")
        self.assertEqual(len(self.history(task)), 2)
        self.person.parley("task", "show", task, "--revision", "1", "--out", out)
        self.assertEqual(person.read_files(out), FIRST)

    def rewrite(self, change):
        """Lets `change` write into taskd's store while the services are down."""
        self.person.down()
        found = [path for path in (self.person.data / "taskd").rglob("*")
                 if path.is_file() and path.read_bytes()[:15] == b"SQLite format 3"]
        self.assertEqual(len(found), 1, found)
        with sqlite3.connect(found[0]) as database:
            change(database)
        database.close()
        self.person.up(at=self.person.ready)

    @staticmethod
    def manifest_key(task, revision):
        return ("m/%s/%012d/000" % (task, revision)).encode()

    def test_a_server_that_lies_gets_nothing_signed_and_nothing_written(self):
        task, _ = self.three()
        out = self.person.home / "out"

        def value(database, revision):
            return database.execute("SELECT value FROM history WHERE key = ?",
                                    (self.manifest_key(task, revision),)).fetchone()[0]

        def put(database, revision, new):
            changed = database.execute("UPDATE history SET value = ? WHERE key = ?",
                                       (new, self.manifest_key(task, revision)))
            self.assertEqual(changed.rowcount, 1)

        def assert_nothing(reason):
            for arguments in (["rollback", task, "--to", "1"], ["show", task, "--revision", "1", "--out", out],
                              ["show", task, "--revision", "1"], ["diff", task, "--from", "1"]):
                self.assert_refused(reason, "task", *arguments, says="do not trust that server")
            self.assertEqual(len(self.history(task)), 3)
            self.assertEqual([path for path in self.person.home.iterdir() if path.name.startswith("out")], [])

        kept = []

        def rename_a_file(database):
            kept.append(value(database, 1))
            put(database, 1, kept[0].replace(b"motd", b"m0td"))

        self.rewrite(rename_a_file)
        assert_nothing("MANIFEST_SIGNATURE")
        # The manifest of another revision is signed, but not for this one.
        self.rewrite(lambda database: put(database, 1, value(database, 2)))
        assert_nothing("OTHER_REVISION")

        # Content that is gone; nothing is left behind of what came before it.
        def lose_content(database):
            put(database, 1, kept[0])
            database.execute("DELETE FROM history WHERE CAST(key AS TEXT) LIKE 'c/%' AND length(value) < 40")

        self.rewrite(lose_content)
        self.assert_refused("CONTENT_GONE", "task", "show", task, "--revision", "1", "--out", out,
                            says="parley task publish")
        self.assertEqual([path for path in self.person.home.iterdir() if path.name.startswith("out")], [])

    def call(self, method, path, body):
        """A call over REST."""
        folder = self.person.home / "creds"
        if not folder.exists():
            self.person.parley("credentials", "export", "--audience", "taskd", "--out", folder)
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
        context.check_hostname = False
        context.set_alpn_protocols(["http/1.1"])
        host, port = self.person.ready["taskd"].split(":")
        connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=person.TIMEOUT_S)
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def test_the_server_goes_back_where_it_signs_itself(self):

        def files(text):
            return {"files": [{"path": "motd", "content": base64.b64encode(text.encode()).decode()}]}

        created = self.call("POST", "/v1/tasks", {"requestId": str(uuid.uuid4()), "title": "by hand",
                                                  "files": files("one\n"), "message": "over REST"})
        task = created["task"]["name"].split("/")[1]
        self.assertTrue(created["task"]["serverSigned"])
        self.publish(task, THIRD)
        self.assertEqual(self.person.json("task", "rollback", task)["revision"], "3")
        self.assertEqual(self.join(stdin=created["joinKey"]["pasted"] + "\n"), (3, {"motd": "one\n"}))
        self.assertEqual(self.history(task)[2]["message"], "over REST")
        out = self.person.home / "out"
        self.assertIn("by the server", self.person.parley("task", "show", task, "--revision", "2", "--out", out))
        self.assertEqual(person.read_files(out), THIRD)
        self.assert_refused("REVISION_CURRENT", "task", "rollback", task, "--to", "3")
        answer = self.call("POST", "/v1/tasks/%s:publish" % task, {"requestId": str(uuid.uuid4()),
                                                                   "contentOfRevision": "9"})
        self.assertEqual(answer["details"][0]["reason"], "REVISION_NOT_FOUND")

    def test_who_has_published_is_in_a_backup(self):
        task, _ = self.three()
        before = self.history(task)
        password = self.person.home / "password"
        password.touch(mode=0o600)
        password.write_text("four random words here\n")
        archive = self.person.home / "parley.backup"
        self.person.parley("backup", "--data", self.person.data, "--out", archive, "--key-file", password)
        self.person.down()
        shutil.rmtree(self.person.data)
        self.person.parley("restore", archive, "--data", self.person.data, "--key-file", password)
        self.person.up(at=self.person.ready)
        self.assertEqual(self.history(task), before)
        self.person.parley("task", "rollback", task)


if __name__ == "__main__":
    unittest.main()
