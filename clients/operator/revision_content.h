// Receives the content of files of a revision from a server, and passes on only what was signed.
//
// Threads: one thread at a time. All methods block on the stream.
#ifndef PARLEY_CLIENTS_OPERATOR_REVISION_CONTENT_H_
#define PARLEY_CLIENTS_OPERATOR_REVISION_CONTENT_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "grpcpp/support/sync_stream.h"
#include "parley/task/v1/artifact_service.pb.h"
#include "parley/task/v1/manifest.pb.h"

namespace parley::ops {

// Gets the content of regular files in the order asked for, each piece as soon as it was verified. `last` says that the
// file is complete; an empty file has one empty piece. An error ends the transfer.
using OnContent = std::function<absl::Status(const task::v1::FileEntry& file, absl::string_view content, bool last)>;

class ContentReceiver {
 public:
  using Stream = grpc::ClientReaderInterface<task::v1::FetchChunksResponse>;

  // `stream` answers a request for the chunks of the files in their order; it may be null if they have none. Both must
  // outlive this. The manifest is for sentences.
  ContentReceiver(Stream* stream, const task::v1::Manifest* manifest) : stream_(stream), manifest_(manifest) {}

  // Receives the content of the next regular file. Returns DATA_LOSS (CONTENT_DIFFERS) if it is not what the entry
  // says, or ends too early, or the errors of `on_content`.
  absl::Status Receive(const task::v1::FileEntry& file, const OnContent& on_content);
  // Returns DATA_LOSS (CONTENT_DIFFERS) if more comes after the last file.
  absl::Status ReceiveEnd();
  // Whether the stream has ended, so that its status says why.
  bool ended() const { return ended_; }

 private:
  absl::Status Differs(absl::string_view what, absl::string_view why) const;
  // Returns no value if the stream has ended, or brings something else.
  std::optional<std::string> NextFrame(const std::string& digest);

  Stream* const stream_;
  const task::v1::Manifest* const manifest_;
  bool ended_ = false;
};

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_REVISION_CONTENT_H_
