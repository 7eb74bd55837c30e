"""The C++ sample, built by another workspace, calls a real server: workspace_check.py LIST_TASKS BAZEL_BIN"""

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def list_tasks(program, credential):
    return subprocess.run([program, credential], capture_output=True, text=True, timeout=60, check=False)


def main(program, bazel_bin):
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
            listed = list_tasks(program, credential)
            assert listed.returncode == 0, listed.stderr
            assert listed.stdout.startswith("tasks/sample-") and listed.stdout.endswith(" STATE_OPEN\n"), listed.stdout
            server.taskd.kill()
            refused = list_tasks(program, credential)
            assert refused.returncode == 1 and "refused" in refused.stderr, refused.stderr
    print("listed", listed.stdout, end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
