#include "lib/transport/connection_id.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/encoding.h"
#include "lib/crypto/kdf.h"

namespace parley::transport {
namespace {

constexpr absl::string_view kPrefix = "parley-";

}  // namespace

ConnectionId ConnectionId::Random() {
  ConnectionId id;
  const std::string bytes = crypto::RandomBytes(id.bytes_.size());
  std::copy(bytes.begin(), bytes.end(), id.bytes_.begin());
  return id;
}

std::optional<ConnectionId> ConnectionId::FromGrpcPeer(absl::string_view peer) {
  if (!absl::ConsumePrefix(&peer, "unix-abstract:")) return std::nullopt;
  absl::ConsumePrefix(&peer, "%00");
  if (!absl::ConsumePrefix(&peer, kPrefix)) return std::nullopt;
  ConnectionId id;
  const std::optional<std::string> bytes = HexDecode(peer.substr(0, peer.find('-')));
  if (!bytes.has_value() || bytes->size() != id.bytes_.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), id.bytes_.begin());
  return id;
}

std::string ConnectionId::SocketName(absl::string_view suffix) const {
  return absl::StrCat(kPrefix, ToString(), suffix);
}

std::string ConnectionId::ToString() const {
  return HexEncode({reinterpret_cast<const char*>(bytes_.data()), bytes_.size()});
}

}  // namespace parley::transport
