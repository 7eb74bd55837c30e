// Brings the chunks of an accepted offer onto this machine, and tells the server and the observer how far it is.
//
// A message that the server sends by itself interrupts a transfer.
//
// Threads: not thread-safe; it has none of its own.
#ifndef PARLEY_CLIENTS_AGENT_TRANSFER_H_
#define PARLEY_CLIENTS_AGENT_TRANSFER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "clients/agent/cancellation.h"
#include "clients/agent/chunk_cache.h"
#include "clients/agent/download.h"
#include "clients/agent/negotiation.h"
#include "clients/agent/task_member.h"

namespace parley::agent {

class Transfer {
 public:
  // All must outlive it. The chunks come over the connection of the negotiation.
  Transfer(const Announcer* announce, Cancellation* cancellation, Negotiation* negotiation,
           const task::v1::Manifest* manifest, ChunkCache* store);

  // Reuses what the target has and fetches the rest. When it returns OK, either all is there, or failure() says why it
  // cannot be, or the server has something else to say. The errors are those of the connection.
  absl::Status Run(const std::string& target, const std::vector<std::string>& installed_paths);

  const absl::Status& failure() const { return failure_; }
  // Returns how many bytes came over the network.
  int64_t received_bytes() const { return download_.counts().received_bytes; }

 private:
  // Makes one call. Returns whether another is worth while.
  absl::StatusOr<bool> FetchOnce();
  absl::Status OnProgress(const DownloadCounts& counts);

  const Announcer& announce_;
  Cancellation* const cancellation_;
  Negotiation* const negotiation_;
  const task::v1::Manifest& manifest_;
  Download download_;
  absl::Status failure_;
  absl::Duration reported_;
  absl::Duration shown_ = -absl::InfiniteDuration();
  bool offsets_refused_ = false;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_TRANSFER_H_
