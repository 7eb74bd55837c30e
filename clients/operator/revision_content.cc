#include "clients/operator/revision_content.h"

#include <algorithm>
#include <cstdint>

#include "absl/status/statusor.h"
#include "clients/operator/ids.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/payload/chunk.h"
#include "lib/payload/fileset.h"

namespace parley::ops {

using task::v1::FetchChunksResponse;

absl::Status ContentReceiver::Differs(absl::string_view what, absl::string_view why) const {
  return DataLoss("CONTENT_DIFFERS", "the server sent other content than was signed for ", what, " of r",
                  manifest_->revision(), " of ", TaskId(manifest_->task()), " (", why,
                  "); do not trust that server before somebody has looked at it");
}

std::optional<std::string> ContentReceiver::NextFrame(const std::string& digest) {
  std::string frame;
  FetchChunksResponse piece;
  do {
    ended_ = !stream_->Read(&piece);
    if (ended_) return std::nullopt;
    const int64_t size = static_cast<int64_t>(frame.size() + piece.data().size());
    if (piece.digest() != digest || piece.offset() != static_cast<int64_t>(frame.size()) || piece.data().empty() ||
        piece.frame_size() > static_cast<int64_t>(payload::kMaxFrameBytes) || size > piece.frame_size()) {
      return std::nullopt;
    }
    frame += piece.data();
  } while (static_cast<int64_t>(frame.size()) < piece.frame_size());
  return frame;
}

absl::Status ContentReceiver::Receive(const task::v1::FileEntry& file, const OnContent& on_content) {
  crypto::Sha256Stream whole;
  int64_t left = file.size();
  if (left == 0) {
    if (whole.Finish() != file.sha256()) return Differs(file.path(), "another digest");
    return on_content(file, "", true);
  }
  for (const std::string& digest : file.chunks()) {
    const std::optional<std::string> frame = NextFrame(digest);
    if (!frame.has_value()) return Differs(file.path(), "another chunk, or less than was asked for");
    const absl::StatusOr<std::string> content = payload::ExpandChunk(*frame, digest);
    if (!content.ok()) return Differs(file.path(), content.status().message());
    const int64_t size = static_cast<int64_t>(content->size());
    if (size != std::min(left, payload::kChunkBytes)) return Differs(file.path(), "another size");
    left -= size;
    whole.Update(*content);
    if (left == 0 && whole.Finish() != file.sha256()) return Differs(file.path(), "another digest");
    RETURN_IF_ERROR(on_content(file, *content, left == 0));
  }
  return absl::OkStatus();
}

absl::Status ContentReceiver::ReceiveEnd() {
  FetchChunksResponse piece;
  ended_ = stream_ == nullptr || !stream_->Read(&piece);
  return ended_ ? absl::OkStatus() : Differs("its files", "more than was asked for");
}

}  // namespace parley::ops
