// What a method of putting a new set in place has to do. There is one object for a target; the journal says what it is
// about.
//
// Threads: not thread-safe.
#ifndef PARLEY_CLIENTS_AGENT_SWAP_METHOD_H_
#define PARLEY_CLIENTS_AGENT_SWAP_METHOD_H_

#include <functional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "clients/agent/agent_state.pb.h"
#include "parley/task/v1/manifest.pb.h"

namespace parley::agent {

// Returns the verified content of the chunk with this digest, or an error such as CHUNK_MISSING.
using ReadChunk = std::function<absl::StatusOr<std::string>(absl::string_view digest)>;

// What is to be laid over the target.
struct NewSet {
  const task::v1::Manifest* manifest;
  const ReadChunk* read_chunk;
  // The paths of the manifest that are on the disk already as the manifest has them; they stay what they are.
  std::set<std::string> unchanged;
  // The paths that go.
  std::set<std::string> dropped;
};

class SwapMethod {
 public:
  virtual ~SwapMethod() = default;

  // Builds what Swap needs, durably, notes in the journal what tells old from new, and does not change the target.
  // Errors: TARGET_CONFLICT (something of somebody else's is where the payload needs a folder, or the other way round),
  // FILE_DIGEST, and other TARGET_* for what the target cannot take.
  virtual absl::Status Stage(const NewSet& set, Journal* journal) = 0;
  // Puts the new set in place, durably. After an error WhereIsWhat says how far it came. Returns TARGET_CHANGED if
  // somebody wrote to the target meanwhile, TARGET_MOUNT, TARGET_PERMISSION, and the errors of lib/base/file.h.
  virtual absl::Status Swap(const Journal& journal) = 0;

  enum class Place {
    kOldInstalled,
    kNewInstalled,
    // It stands in the middle of a swap.
    kBetween,
    // Somebody else has moved what the journal names.
    kUnknown,
  };
  // Returns which set is in place.
  virtual Place WhereIsWhat(const Journal& journal) const = 0;
  // Checks, with kNewInstalled and before any command has seen the new set, that what was swapped out is the old set as
  // it was looked at before. Returns TARGET_CHANGED if it is something else, which SwapBack then puts in place again.
  virtual absl::Status CheckSwapped(const Journal& journal) const { return absl::OkStatus(); }

  // Puts the old set in place again, durably, from wherever it stands; it may be repeated. Returns OLD_SET_LOST if
  // the old set is not in the place any more, TARGET_CHANGED if the new one is not in the target either, TARGET_MOUNT,
  // TARGET_PERMISSION, and the errors of lib/base/file.h.
  virtual absl::Status SwapBack(const Journal& journal) = 0;
  // Returns where the old set is while the new one is in place, for people.
  virtual std::string OldSetPath() const = 0;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_SWAP_METHOD_H_
