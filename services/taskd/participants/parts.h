// What taskd is made of, for those of its classes that need much of it.
//
// Threads: a TaskdParts does not change; each part says which threads may call it.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_PARTS_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_PARTS_H_

#include "lib/audit/audit_log.h"
#include "lib/base/clock.h"
#include "lib/base/timer_queue.h"
#include "lib/chunks/chunk_store.h"
#include "lib/keyd_client/device_labels.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/live_streams.h"
#include "lib/rpc/worker_pool.h"
#include "lib/store/leader.h"
#include "services/taskd/participants/caller_resolver.h"
#include "services/taskd/participants/declare_pace.h"
#include "services/taskd/participants/key_maker.h"
#include "services/taskd/participants/revoked_keys.h"
#include "services/taskd/participants/sessions.h"
#include "services/taskd/store/client_presence.h"
#include "services/taskd/store/manifest_cache.h"
#include "services/taskd/store/participant_updater.h"
#include "services/taskd/store/request_log.h"
#include "services/taskd/store/task_index.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

// All that this points to must outlive whoever has it. Work on `workers` and `timers` ends before any of the classes
// that have given it to them.
struct TaskdParts {
  const TaskStore* store;
  chunks::ChunkStore* chunks;
  ManifestCache* manifests;
  TaskIndex* task_index;
  const ParticipantUpdater* updater;
  const RequestLog* request_log;
  const CallerResolver* callers;
  const KeyMaker* keys;
  RevokedKeys* revoked;
  Sessions* sessions;
  DeclarePace* pace;
  rpc::LiveStreams* streams;
  // These two are null in a process that is alone.
  const store::Leader* leader;
  ClientPresence* presence;
  const keyd_client::DeviceLabels* labels;
  Clock* clock;
  TimerQueue* timers;
  rpc::WorkerPool* workers;
  audit::AuditLog* audit;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_PARTS_H_
