"""Builds each sample from its own files and the archive of stubs, the way its README says, without the network."""

import os
import pathlib
import shutil
import subprocess
import tarfile

from tests import stack

# For Java programs that live for seconds: no more compiling and collecting than that is worth.
SHORT_LIVED = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
# Compilers on a busy machine.
BUILD_TIMEOUT_S = 300
STUBS = stack.RUNFILES / "clients/stubs"
SAMPLES = stack.RUNFILES / "clients/samples"


def archive(pattern):
    (path,) = STUBS.glob(pattern)
    return path


def run(*command, cwd, **environment):
    result = subprocess.run([str(part) for part in command], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
                            env={**os.environ, "HOME": str(cwd), **environment}, text=True, check=False,
                            timeout=BUILD_TIMEOUT_S)
    if result.returncode != 0:
        raise AssertionError("%s\n%s%s" % (" ".join(map(str, command)), result.stdout, result.stderr))


def copied(language, folder):
    folder = pathlib.Path(folder) / language
    # The files themselves: what Bazel shows are links.
    shutil.copytree(SAMPLES / language, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def python(folder):
    folder = copied("python", folder)
    run(stack.PYTHON, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", folder / "stubs",
        archive("*.whl"), cwd=folder)
    # With epoll, grpcio 1.60 and 1.67 did not hear in one of ten runs on Linux 6.18 that their server had been killed:
    # no event came for the socket. It was so with an earlier taskd as well.
    return ["env", "GRPC_POLL_STRATEGY=poll", "PYTHONPATH=%s" % (folder / "stubs"), stack.PYTHON,
            folder / "create_task.py"]


def go(folder):
    folder = copied("go", folder)
    with tarfile.open(archive("parley-go-*")) as stubs:
        stubs.extractall(folder)
    run("/usr/lib/go/bin/go", "build", "-trimpath", "-o", "create_task", ".", cwd=folder, GOTOOLCHAIN="local",
        GOPROXY="off", GOFLAGS="-modcacherw", CGO_ENABLED="0", GOMODCACHE=str(stack.TOOLS / "go/modules"),
        GOCACHE=str(stack.TOOLS / "go/build"))
    return [folder / "create_task"]


def node(folder):
    folder = copied("node", folder)
    shutil.copytree(stack.TOOLS / "node/node_modules", folder / "node_modules", symlinks=True)
    # What npm install does with it; npm itself would ask its registry about the rest.
    with tarfile.open(archive("parley-api-*.tgz")) as stubs:
        stubs.extractall(folder)
    (folder / "package").rename(folder / "node_modules/parley-api")
    return ["node", folder / "create_task.js"]


def java(folder):
    folder = copied("java", folder)
    # Links to the files, because Maven adds to its repository; and the stubs in it, because offline it asks no other.
    run("cp", "-al", stack.TOOLS / "maven", folder / "repository", cwd=folder)
    with tarfile.open(archive("parley-maven-*")) as stubs:
        stubs.extractall(folder)
    shutil.copytree(folder / "parley-maven", folder / "repository", dirs_exist_ok=True)
    run("mvn", "-B", "-q", "-o", "-Dmaven.repo.local=%s" % (folder / "repository"), "process-classes", cwd=folder,
        MAVEN_OPTS=" ".join(SHORT_LIVED))
    return ["java", *SHORT_LIVED, "-cp", "%s:%s/*" % (folder / "target/classes", folder / "target/lib"),
            "com.example.CreateTask"]
