#include "lib/transport/grpc_door.h"

#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/memory.h"
#include "lib/transport/address.h"
#include "lib/transport/channel.h"
#include "lib/transport/quiet_grpc.h"

namespace parley::transport {
namespace {

// For the last answers of the REST side, whose calls have ended by then.
constexpr absl::Duration kRestGrace = absl::Seconds(1);

constexpr int kMaxMetadataBytes = 16 * 1024;
// So that connections spread anew over replicas; long streams get the grace and then resume from their cursor.
constexpr int kMaxAgeMillis = 60 * 60 * 1000;
constexpr int kMaxAgeGraceMillis = 5 * 60 * 1000;
// For HTTP/2's preface: the peer is authenticated and local by now.
constexpr int kPrefaceTimeoutMillis = 5000;
// Clients may ask for a sign of life this often: they do so every 4 seconds (quiet_grpc.h), and a line delays some more
// than others.
constexpr int kMinPingMillis = 3 * 1000;

void SetLimits(const FrameGuard::Limits& frames, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, static_cast<int>(frames.max_open_streams));
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, kMaxAgeMillis);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, kMaxAgeGraceMillis);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kPrefaceTimeoutMillis);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingMillis);
  // Its records of each connection and call are for a service that none of ours has.
  builder->AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  // gRPC would expand a message before it knows how large it becomes. Refused by name, and not expanded in any case.
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder->AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  // The other half is for the handlers and the store, and for the relays. Beyond its own half gRPC first closes
  // connections without calls, then cancels calls.
  grpc::ResourceQuota memory("parley-door");
  memory.Resize(static_cast<size_t>(UsableMemory() / 2));
  builder->SetResourceQuota(memory);
}

}  // namespace

GrpcDoor::GrpcDoor(std::unique_ptr<Listener> listener, const FrameGuard::Limits& frames)
    : listener_(std::move(listener)), frames_(frames) {}

GrpcDoor::~GrpcDoor() { Shutdown(absl::InfinitePast()); }

absl::Status GrpcDoor::Serve(grpc::ServerBuilder* builder) {
  using AcceptorType = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  SetLimits(frames_, builder);
  // "Insecure" is what gRPC sees: a local socket, behind which the door has done the security.
  acceptor_ =
      builder->experimental().AddExternalConnectionAcceptor(AcceptorType::FROM_FD, grpc::InsecureServerCredentials());
  server_ = builder->BuildAndStart();
  if (server_ == nullptr) {
    return Error(absl::StatusCode::kInternal, "SERVER_START_FAILED",
                 "gRPC did not start; its log on standard error says why");
  }
  {
    MutexLock lock(&mutex_);
    serving_ = true;
  }
  listener_->Start([this](int fd, std::shared_ptr<const Peer> peer, Application application) {
    if (application == Application::kGrpc) {
      HandOver(fd);
    } else if (rest_ != nullptr) {
      rest_->Take(fd, std::move(peer));
    } else {
      close(fd);
    }
  });
  return absl::OkStatus();
}

int GrpcDoor::ConnectAs(const Peer& peer) {
  {
    MutexLock lock(&mutex_);
    if (!serving_) return -1;
  }
  SocketPair pair =
      MakeSocketPair(peer.connection_id.SocketName(absl::StrCat("-rest", rest_connections_.fetch_add(1))));
  if (!pair.named.ok()) return -1;
  HandOver(pair.other.release());
  return pair.named.release();
}

void GrpcDoor::HandOver(int fd) {
  MutexLock lock(&mutex_);
  if (!serving_) {
    close(fd);
    return;
  }
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
  connection.fd = fd;
  acceptor_->HandleNewConnection(&connection);
}

void GrpcDoor::Shutdown(absl::Time deadline) {
  listener_->StopAccepting();
  {
    MutexLock lock(&mutex_);
    if (!std::exchange(serving_, false)) return;
  }
  if (rest_ != nullptr) rest_->Stop();
  // The relays go on meanwhile: answers of the calls that still run pass through them.
  // gRPC takes a time before 1970 for one that never comes.
  server_->Shutdown(absl::ToChronoTime(std::max(deadline, absl::UnixEpoch())));
  if (rest_ != nullptr) rest_->Drain(Clock::System()->Now() + kRestGrace);
  // gRPC has closed its ends, and what it wrote into them last still lies in the relays.
  listener_->Drain(deadline);
  listener_->Shutdown();
}

absl::StatusOr<std::unique_ptr<GrpcDoor>> GrpcDoor::Create(Listener::Options options, KeySource* keys) {
  KeepGrpcInitialized();
  if (!options.frame_limits.has_value()) options.frame_limits.emplace();
  const FrameGuard::Limits frames = *options.frame_limits;
  ASSIGN_OR_RETURN(auto listener, Listener::Create(std::move(options), keys));
  return std::unique_ptr<GrpcDoor>(new GrpcDoor(std::move(listener), frames));
}

void GrpcDoor::Wait() {
  if (server_ != nullptr) server_->Wait();
}

std::shared_ptr<const Peer> GrpcDoor::PeerOf(const grpc::ServerContextBase& context) const {
  const std::optional<ConnectionId> id = ConnectionId::FromGrpcPeer(context.peer());
  return id.has_value() ? listener_->FindPeer(*id) : nullptr;
}

}  // namespace parley::transport
