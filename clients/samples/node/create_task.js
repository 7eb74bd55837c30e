'use strict';
// Creates a Parley task from a folder and watches it to its end.
//
//   node create_task.js FOLDER CREDENTIALS ADDRESS [CLIENTS]
//
// CREDENTIALS is the folder that `parley credentials export --out CREDENTIALS` wrote, ADDRESS taskd's, CLIENTS how many
// are expected (1). The join key goes into a file that only you can read. Exits with 0 when every client has confirmed.

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const { TaskService } = require('parley-api').task.v1;

const CALL_TIMEOUT_MS = 30000;

// The three files are all that TLS needs: no pre-shared key, no plug-in.
function connect(address, folder) {
  const read = (name) => fs.readFileSync(path.join(folder, name));
  return new TaskService(address, grpc.credentials.createSsl(read('ca.pem'), read('client.key'), read('client.pem')));
}

// Every file below a folder. taskd signs them; 3 MiB and 1000 files are the most that it takes so.
function readFiles(folder, below = '') {
  const files = [];
  for (const entry of fs.readdirSync(path.join(folder, below), { withFileTypes: true })) {
    const name = path.posix.join(below, entry.name);
    const whole = path.join(folder, name);
    if (entry.isDirectory()) {
      files.push(...readFiles(folder, name));
    } else if (entry.isFile()) {
      files.push({ path: name, content: fs.readFileSync(whole), mode: fs.statSync(whole).mode & 0o777 });
    } else {
      throw new Error(`${whole} is not a file; \`parley task create\` can carry links, files given inline cannot`);
    }
  }
  return files;
}

function createTask(tasks, request) {
  const metadata = new grpc.Metadata({ waitForReady: true });
  return new Promise((resolve, reject) => {
    tasks.createTask(request, metadata, { deadline: Date.now() + CALL_TIMEOUT_MS },
      (error, response) => (error ? reject(error) : resolve(response)));
  });
}

function writeJoinKey(task, pasted) {
  const name = `${path.posix.basename(task)}.join`;
  fs.writeFileSync(name, `${pasted}\n`, { mode: 0o600, flag: 'wx' });
  return name;
}

// Prints what each client does; the task as it ended. Goes on where it was when the connection breaks.
async function watch(tasks, name) {
  const shown = new Map();
  let cursor = '0';
  let task = null;
  for (;;) {
    try {
      for await (const event of tasks.watchTask({ name, cursor }, new grpc.Metadata({ waitForReady: true }))) {
        cursor = event.cursor;
        task = event.task ?? task;
        for (const client of event.participants) {
          if (shown.get(client.name) !== client.state) {
            shown.set(client.name, client.state);
            console.log(path.posix.basename(client.name), client.state);
          }
        }
      }
      return task;
    } catch (error) {
      if (error.code !== grpc.status.UNAVAILABLE) throw error;
    }
  }
}

async function main(folder, credentials, address, clients = '1') {
  const tasks = connect(address, credentials);
  // Sent again with the same requestId, this creates nothing twice.
  const created = await createTask(tasks, {
    requestId: crypto.randomUUID(), title: path.basename(path.resolve(folder)), files: { files: readFiles(folder) },
    expectedClients: Number(clients),
  });
  console.log('created', created.task.name, 'key', writeJoinKey(created.task.name, created.joinKey.pasted));
  const task = await watch(tasks, created.task.name);
  tasks.close();
  console.log('ended', task.state, 'confirmed', task.counts.confirmed);
  return task.state === 'STATE_COMPLETED' ? 0 : 1;
}

if (process.argv.length !== 5 && process.argv.length !== 6) {
  console.error('usage: node create_task.js FOLDER CREDENTIALS ADDRESS [CLIENTS]');
  process.exit(2);
}
main(...process.argv.slice(2)).then(
  (code) => { process.exitCode = code; },
  (error) => {
    console.error(typeof error.code !== 'number' ? error.message : `${grpc.status[error.code]}: ${error.details}`);
    process.exitCode = 1;
  });
