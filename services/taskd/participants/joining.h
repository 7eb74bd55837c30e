// Makes clients of tasks: Join.
//
// A name belongs to whoever has the nonce that it was joined with. Two things end that: a device takes its own name
// back from whatever holds it, because a machine that was installed anew has lost its nonce; and a name whose key was
// revoked is free. Either way the former key is revoked in the same commit.
//
// Every client that joins with a join key changes the key's record, which counts them. So joins of one key that come at
// the same time are committed together, by one of them for all, and nobody contends for the record.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_JOINING_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_JOINING_H_

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "lib/base/bounded_cache.h"
#include "lib/base/mutex.h"
#include "parley/task/v1/participation_service.pb.h"
#include "services/taskd/participants/parts.h"

namespace parley::taskd {

// How long a member key outlives its task, so that its client still hears how the task ended.
inline constexpr absl::Duration kMemberKeyGrace = absl::Minutes(1);

class Joining {
 public:
  // `parts` must outlive this.
  explicit Joining(const TaskdParts* parts) : parts_(parts) {}

  // Does what ParticipationService.Join says, and returns its errors.
  absl::Status Join(const rpc::Caller& caller, const task::v1::JoinRequest& request, task::v1::JoinResponse* response);

 private:
  // One join that waits for its commit.
  struct Pending {
    std::string client;
    std::string tag;
    ParticipantRecord record;
    // The record that this one takes the place of.
    std::optional<Stored<ParticipantRecord>> former;
    // The client has been there before, under a key that nobody has revoked.
    bool is_back() const { return former.has_value() && !former->value.participant().has_revoke_time(); }
    bool done = false;
    // What became of the join; ALREADY_EXISTS if another was faster under its name.
    absl::Status status;
  };
  // The joins of one task and join key. A device has no join key.
  struct Group {
    std::string task;
    std::string join_key;
    bool operator<(const Group& other) const { return std::tie(task, join_key) < std::tie(other.task, other.join_key); }
  };
  struct Queue {
    std::deque<Pending*> waiting;
    bool busy = false;
    int users = 0;
    CondVar moved;
  };
  using Batch = std::vector<Pending*>;

  // Returns the record of a client that joins now, in the place of `former` if there is one.
  absl::StatusOr<Pending> NewPending(const Group& group, const std::string& client,
                                     const task::v1::JoinRequest& request, const TaskRecord& task,
                                     const rpc::Caller& caller, std::optional<Stored<ParticipantRecord>> former) const;
  absl::StatusOr<Group> CheckCaller(const rpc::Caller& caller, const task::v1::JoinRequest& request,
                                    std::string* client) const;
  absl::Status Add(const Group& group, Pending* pending);
  static Batch TakeNextBatch(Queue* queue);
  void Commit(const Group& group, Batch batch);
  // A commit that adds the clients, and the join key as that leaves it. Those that there is no place for leave the
  // batch with their error.
  absl::StatusOr<std::optional<store::Transaction>> NewTransaction(const Group& group, const TaskSnapshot& task,
                                                                   Batch* batch, Stored<JoinKeyRecord>* key);
  // Reads the join key, from memory if this process has put it last and it has places for so many clients.
  absl::Status ReadJoinKey(const Group& group, size_t clients, Stored<JoinKeyRecord>* key);
  void Committed(const Group& group, const Batch& batch, int64_t revision);
  absl::Status AwaitRevoked(const Batch& batch, int64_t revision);
  absl::Status AddToTransaction(const Group& group, const Pending& pending, store::Transaction* transaction) const;
  absl::Status DropPresent(const std::string& task, Batch* batch);
  void AuditJoin(const rpc::Caller& caller, const Group& group, const Pending& pending) const;
  absl::Status Answer(const std::string& task, const std::string& client, const ParticipantRecord& record,
                      const TaskSnapshot& snapshot, task::v1::JoinResponse* response) const;

  const TaskdParts* const parts_;
  Mutex mutex_;
  std::map<Group, Queue> queues_ ABSL_GUARDED_BY(mutex_);
  // By JoinKeyKey, as this process has put them last.
  BoundedCache<Stored<JoinKeyRecord>> recent_keys_{1 << 20};
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_JOINING_H_
