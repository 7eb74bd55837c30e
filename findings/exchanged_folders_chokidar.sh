#!/bin/bash
# chokidar (npm) 5.0.0 on Linux: after two watched folders were exchanged, a change in one is looked for in the other.
#
# A good guess says: chokidar watches each folder by fs.watch and compares what it finds with what it knew, so after
# renameat2 with RENAME_EXCHANGE it reports the new content, and later changes where they happen.
#
# What happens: the exchange itself is not reported at all, because both names are there before and after it. The
# watches stay on the inodes while the paths that belong to them do not move, so a change in "conf" makes chokidar
# read "conf.new" again and compare that: a file that is new in conf is not reported when it is made. It is reported
# when something changes in conf.new, whose own new file is then not reported. A program that reloads its settings on
# such an event is late by one change, or never comes to it.
#
# Seen: nothing for the exchange and for conf/first; "add conf/first" when conf.new/second was made; nothing for that.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts chokidar@5.0.0 >log 2>&1 || { cat log; exit 77; }

cat >run.mjs <<'END'
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { watch } from 'chokidar';

for (const name of ['conf', 'conf.new']) fs.mkdirSync(`top/${name}`, { recursive: true });
const watcher = watch('top', { ignoreInitial: true });
await once(watcher, 'ready');
const seen = [];
watcher.on('all', (event, path) => seen.push(`${event} ${path.replace('top/', '')}`));
// What was made before a folder beside it was seen has been seen too, if ever.
const settle = async (name) => {
  fs.mkdirSync(`top/${name}`);
  while (!seen.includes(`addDir ${name}`)) await once(watcher, 'all');
};

execFileSync('python3', ['-c', `
import ctypes
assert ctypes.CDLL(None).renameat2(-100, b"top/conf", -100, b"top/conf.new", 2) == 0
`]);
await settle('mark-1');
fs.writeFileSync('top/conf/first', '');
await settle('mark-2');
fs.writeFileSync('top/conf.new/second', '');
while (!seen.some((event) => event.startsWith('add '))) await once(watcher, 'all');
await settle('mark-3');
console.log(seen.join('\n'));
await watcher.close();
END
timeout 120 node run.mjs | tee seen
diff - seen <<'END'
addDir mark-1
addDir mark-2
add conf/first
addDir mark-3
END
