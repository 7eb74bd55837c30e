// The rules of roll-outs, of docs/protocol/rollout.md: which clients are in which wave, and when the next one opens.
//
// A wave of a number or a share is drawn when it opens, from an order that a hash gives. What is stored then is the
// last place in that order that is in the wave, so every replica agrees on who is in, at any time and after a restart.
//
// Threads: pure functions.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_ROLLOUT_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_ROLLOUT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/numeric/int128.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "services/taskd/domain/counts.h"
#include "services/taskd/domain/record.pb.h"
#include "services/taskd/domain/selection.h"

namespace parley::taskd {

// A client as the rules see it.
struct WaveClient {
  // Its name within the task.
  absl::string_view name;
  // The fields of ParticipantRecord.
  int64_t joined_revision = 0;
  int waves_missed = 0;
  // Null while they are not known, and for a client that is no device: then it has none.
  const Labels* labels = nullptr;
};
WaveClient ToWaveClient(const ParticipantRecord& client, const Labels* labels);

// What follows from the task's waves for a client.
struct InWaves {
  // The first wave that names the client or labels that it has, from 1; 0 for none.
  int named = 0;
  // The number of waves that were open or being drawn when the client joined; those of a number or a share among them
  // are not for it.
  int missed = 0;
};
InWaves FindInWaves(const WaveClient& client, const TaskRecord& task);

// Returns the client's place in the order in which a task's waves take clients in.
absl::uint128 PlaceInOrder(absl::string_view task_name, absl::string_view client);

// Returns the first open wave that the client is in, from 1, or 0.
int WaveOf(const InWaves& in_waves, absl::uint128 place, const TaskRecord& task);
// Says whether a client may be offered the current revision: it is in an open wave, or the task has no waves.
bool IsInOpenWave(const ParticipantRecord& client, const TaskRecord& task, const Labels* labels);

// Adds `sign` (1 or -1) for a client that is in this wave (WaveOf) and named by that one (InWaves::named).
void CountInRollout(const Counted& client, int wave, int named, int64_t task_revision, int sign, RolloutTally* tally);

// What the gate says at a moment.
struct GateVerdict {
  enum class Kind {
    // Clients of the next wave have yet to join.
    kAwaitClients,
    // The open waves have yet to reach the gate's share.
    kAwaitSuccess,
    // The share has to hold until `time`.
    kSoak,
    kAwaitApproval,
    // The next wave is to open.
    kOpen,
    // More clients have failed than the gate bears.
    kStop,
    kAllOpen,
  };
  Kind kind = Kind::kAllOpen;
  // A sentence for people.
  std::string detail;
  absl::Time time = absl::InfiniteFuture();
};
// Judges a task that has waves.
GateVerdict JudgeGate(const TaskRecord& task, const RolloutTally& tally, absl::Time now);

// Returns the task after what its gate demands: it stops, or the next wave is to be drawn. Returns no value if nothing
// is due. The task is open and has waves.
std::optional<TaskRecord> RolloutDue(const TaskRecord& task, const RolloutTally& tally, absl::Time now);
// Returns when time alone may demand something next of the roll-out.
absl::Time NextRolloutDue(const TaskRecord& task);

// A client that the next wave may take in.
struct Candidate {
  absl::uint128 place;
  InWaves in_waves;
};
// Opens the wave that is being drawn. `candidates` are all clients that can take part, and that had joined when the
// drawing began; others may be among them.
void OpenNextWave(std::vector<Candidate> candidates, absl::Time now, TaskRecord* task);

// Begins the roll-out of the current revision, which this subject has published.
void BeginRollout(absl::string_view author, TaskRecord* task);

// Takes an operator's word that the next wave is to open (AdvanceTask). Returns whether the task has changed, or the
// errors that the RPC names.
absl::StatusOr<bool> AdvanceRollout(absl::string_view subject, int wave, bool now, const RolloutTally& tally,
                                    TaskRecord* task);

// Returns the status of a task that has waves.
task::v1::RolloutStatus ShowRollout(const TaskRecord& task, const RolloutTally& tally, absl::Time now);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_ROLLOUT_H_
