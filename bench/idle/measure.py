"""Measures idle agents, side by side on one machine in one run:

measure.py FOLDER_OF_PROGRAMS ADMIN [--earlier FOLDER_OF_PROGRAMS] [--seconds N]

Starts `parley agent` of this build, that of an earlier build if there is one, and a client of plain gRPC with one open
stream (plain_client.cc). Once all are connected it counts for N seconds (120) how often threads of each woke: those of
the whole process, and those that are not gRPC's. Prints `figure NAME VALUE` for each, and `ratio NAME VALUE` of the
others' wakes to this build's.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import wakes

def agent(programs, admin, folder, name):
    """The process, once it is connected."""
    parley = programs / "clients/cli/parley"
    credential = folder / (name + ".credential")
    subprocess.run([parley, "--credential", admin, "key", "issue", "--role", "device", "--subject", name, "--out",
                    credential], check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([parley, "agent", "--credential", credential, "--into", folder / name / "into",
                                "--state", folder / name / "state", "--output", "json"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if json.loads(line)["event"] == "connected":
            return process
    raise SystemExit("the agent %s does not connect" % name)


def plain(program):
    process = subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if process.stdout.readline() != "connected\n":
        raise SystemExit("the plain client does not connect")
    return process


def measure(running, seconds):
    time.sleep(5)
    before = {name: wakes.so_far(process.pid) for name, process in running.items()}
    time.sleep(seconds)
    total = {}
    for name, process in running.items():
        woken = wakes.since(process.pid, before[name])
        total[name] = sum(woken.values())
        print("figure %s_wakes %d" % (name, total[name]))
        print("figure %s_own_wakes %d" % (name, sum(wakes.own(woken).values())))
        print("figure %s_resident_mib %.1f" % (name, wakes.resident_mib(process.pid)))
    for name in total:
        if name != "present":
            print("ratio %s_wakes %.1f" % (name, total[name] / max(1, total["present"])))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("programs", type=pathlib.Path)
    arguments.add_argument("admin")
    arguments.add_argument("--earlier", type=pathlib.Path)
    arguments.add_argument("--seconds", type=int, default=120)
    given = arguments.parse_args()
    running = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        try:
            running["present"] = agent(given.programs, given.admin, folder, "present")
            if given.earlier:
                running["earlier"] = agent(given.earlier, given.admin, folder, "earlier")
            running["plain_grpc"] = plain(given.programs / "bench/idle/plain_client")
            measure(running, given.seconds)
        finally:
            for process in running.values():
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
