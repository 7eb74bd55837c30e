// Keeps in memory where clients stand that this process has changed last, so that what they do next needs no read.
//
// A record is given out only while the watch has shown none that is newer. Another process may have changed it all the
// same, and the watch not have brought it yet: so a change is committed on the condition that the record still stands,
// and before a client is told that it is refused, or that nothing changes, the store is asked.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_SERVICES_TASKD_STORE_RECENT_CLIENTS_H_
#define PARLEY_SERVICES_TASKD_STORE_RECENT_CLIENTS_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "lib/base/bounded_cache.h"
#include "services/taskd/domain/record.pb.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/store/task_index.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

class RecentClients {
 public:
  // `task_index` must outlive this.
  explicit RecentClients(TaskIndex* task_index) : task_index_(task_index) {}

  // Says that this process has put the record.
  void Put(absl::string_view task, absl::string_view client, const ParticipantRecord& record, int64_t revision) {
    auto put = std::make_shared<const Stored<ParticipantRecord>>(Stored<ParticipantRecord>{record, revision});
    records_.Put(ParticipantKey(task, client), std::move(put), record.SpaceUsedLong());
  }
  // Returns null if there is none, or a newer one.
  std::shared_ptr<const Stored<ParticipantRecord>> Find(absl::string_view task, absl::string_view client) {
    auto found = records_.Find(ParticipantKey(task, client));
    if (found == nullptr || found->revision < task_index_->ShownRevision(task, client)) return nullptr;
    return found;
  }

 private:
  // A thousand clients or more.
  static constexpr size_t kMaxBytes = 4 << 20;

  TaskIndex* const task_index_;
  BoundedCache<Stored<ParticipantRecord>> records_{kMaxBytes};
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_STORE_RECENT_CLIENTS_H_
