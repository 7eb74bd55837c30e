// What a method of putting a new set in place has to do. One object for a target; the journal says what it is about.
//
// Threads: none.
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

// Verified content of a chunk, by digest.
using ReadChunk = std::function<absl::StatusOr<std::string>(absl::string_view digest)>;

// What is to be laid over the target.
struct NewSet {
  const task::v1::Manifest* manifest;
  const ReadChunk* read_chunk;
  // Paths of the manifest that are on the disk already as the manifest has them: they stay what they are.
  std::set<std::string> unchanged;
  // Paths that go.
  std::set<std::string> dropped;
};

class SwapMethod {
 public:
  virtual ~SwapMethod() = default;

  // Builds what Swap needs, durably, and notes in the journal what tells old from new. The target has not changed,
  // whatever comes back. TARGET_CONFLICT (something of somebody else's where the payload needs a folder, or the other
  // way round), FILE_DIGEST, and what the target cannot take.
  virtual absl::Status Stage(const NewSet& set, Journal* journal) = 0;
  // Puts the new set in place, durably. TARGET_CHANGED when somebody wrote to the target meanwhile. After an error
  // WhereIsWhat says how far it came.
  virtual absl::Status Swap(const Journal& journal) = 0;

  enum class Place {
    kOldInstalled,
    kNewInstalled,
    // In the middle of a swap.
    kBetween,
    // Somebody else has moved what the journal names.
    kUnknown,
  };
  virtual Place WhereIsWhat(const Journal& journal) const = 0;
  // With kNewInstalled, and before any command has seen it: whether what was swapped out is the old set as it was
  // looked at before. TARGET_CHANGED when it is something else, which SwapBack then puts in place again.
  virtual absl::Status CheckSwapped(const Journal& journal) const { return absl::OkStatus(); }

  // Puts the old set in place again, from wherever it stands; durable, and may be repeated.
  virtual absl::Status SwapBack(const Journal& journal) = 0;
  // Where the old set is while the new one is in place, for people.
  virtual std::string OldSetPath() const = 0;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_SWAP_METHOD_H_
