#!/bin/bash
# watchdog (PyPI) 7.1.0 on Linux: after two watched folders were exchanged, it reports each under the other's name.
#
# A good guess says: renameat2 with RENAME_EXCHANGE is two renames to inotify, watchdog follows renames of folders
# that it watches recursively, and so a file made in "conf" after the exchange is reported in "conf".
#
# What happens: the kernel reports both moves, and watchdog applies them one after the other to a table by path. The
# first (conf to conf.new) overwrites the entry of conf.new, the second moves the same watch back. From then on each
# folder carries the other's name: what is written to conf is reported in conf.new, and the other way round, for as
# long as the observer lives. stop() then ends with a KeyError, because a path has been lost. Programs that find out
# by path which file to read again read the wrong one. inotifywait 3.22.6 and watchfiles 1.3.0 (PyPI) report the same
# exchange rightly.
#
# Seen: created conf.new/written-to-conf, created conf/written-to-conf.new, then KeyError.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --no-deps watchdog==7.1.0 >"$work/log" 2>&1 || { cat "$work/log"; exit 77; }

cat >"$work/run.py" <<'END'
import ctypes
import os
import queue
import sys

from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

AT_FDCWD, RENAME_EXCHANGE = -100, 2
top = sys.argv[1]
for name in ("conf", "conf.new"):
    os.mkdir(os.path.join(top, name))
events = queue.Queue()


class Handler(FileSystemEventHandler):
    def on_any_event(self, event):
        events.put((event.event_type, os.path.relpath(event.src_path, top)))


def after(wanted):
    """The next event of a kind for which `wanted` holds."""
    while True:
        event = events.get(timeout=30)
        if wanted(event):
            return event


observer = Observer()
observer.schedule(Handler(), top, recursive=True)
observer.start()
path = lambda name: os.path.join(top, name).encode()
if ctypes.CDLL(None, use_errno=True).renameat2(AT_FDCWD, path("conf"), AT_FDCWD, path("conf.new"), RENAME_EXCHANGE):
    sys.exit("renameat2: " + os.strerror(ctypes.get_errno()))
after(lambda event: event == ("moved", "conf.new"))
for name in ("conf", "conf.new"):
    with open(os.path.join(top, name, "written-to-" + name), "w"):
        pass
    print(*after(lambda event: event[0] == "created" and "written-to-" in event[1]))
try:
    observer.stop()
    print("stopped")
except KeyError:
    print("KeyError")
END
mkdir "$work/top"
timeout 120 "$work/venv/bin/python" "$work/run.py" "$work/top" | tee "$work/seen"
diff - "$work/seen" <<'END'
created conf.new/written-to-conf
created conf/written-to-conf.new
KeyError
END
