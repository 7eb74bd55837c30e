"""The C++ samples, built by another workspace, call a real server: workspace_check.py SAMPLES_BIN BAZEL_BIN"""

import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def list_tasks(program, credential):
    return subprocess.run([program, credential], capture_output=True, text=True, timeout=60, check=False)


def publish_folder(program, server):
    """Publishes without a terminal, and one client installs it: what the program said."""
    folder, state = server.home / "site", server.home / "publisher"
    folder.mkdir()
    (folder / "hello.conf").write_text("listen 8088;\n")
    with subprocess.Popen([program, server.credentials / "operator.credential", folder, state],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sample:
        created = sample.stdout.readline().split()
        assert created, sample.communicate(timeout=60)[1]
        assert (created[0], created[2]) == ("created", "key"), created
        key = pathlib.Path(created[3])
        assert key == state / (created[1].removeprefix("tasks/") + ".join"), created
        assert sorted(stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()) == [0o600, 0o600]
        into = server.home / "into"
        server.parley("join", "--into", into, "--state", server.home / "state", "--name", "web-1",
                      stdin=key.read_text())
        assert (into / "hello.conf").read_text() == "listen 8088;\n"
        output, errors = sample.communicate(timeout=60)
    assert sample.returncode == 0, errors
    assert output.endswith("/participants/web-1 STATE_CONFIRMED\nended STATE_COMPLETED\n"), output
    shown = json.loads(server.parley("task", "get", created[1], "--output", "json"))
    assert shown["state"] == "STATE_COMPLETED" and not shown.get("serverSigned"), shown
    assert key.with_suffix(".key").exists()
    return output


def main(samples, bazel_bin):
    with tempfile.TemporaryDirectory() as folder:
        # Where tests/stack.py looks for programs.
        (pathlib.Path(folder) / "parley").symlink_to(bazel_bin)
        os.environ["TEST_SRCDIR"] = folder
        sys.path.insert(0, str(ROOT))
        from tests import stack  # pylint: disable=import-outside-toplevel
        with stack.Stack() as server:
            (server.home / "motd").write_text("hello\n")
            server.parley("task", "create", "sample", "--payload", server.home / "motd")
            credential = server.credentials / "operator.credential"
            listed = list_tasks(samples + "/list_tasks", credential)
            assert listed.returncode == 0, listed.stderr
            assert listed.stdout.startswith("tasks/sample-") and listed.stdout.endswith(" STATE_OPEN\n"), listed.stdout
            published = publish_folder(samples + "/publish_folder", server)
            server.taskd.kill()
            refused = list_tasks(samples + "/list_tasks", credential)
            assert refused.returncode == 1 and "refused" in refused.stderr, refused.stderr
    print("listed", listed.stdout + published, end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
