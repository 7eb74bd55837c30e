#include "lib/store/etcd/etcd_cluster.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "lib/base/backoff.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/store/etcd/etcd_errors.h"
#include "lib/transport/address.h"
#include "lib/transport/awaited.h"
#include "lib/transport/quiet_grpc.h"

namespace parley::store {
namespace {

constexpr size_t kMaxPemBytes = 1 << 20;
// How long one member may take to connect, before the next one is tried.
constexpr absl::Duration kConnectTimeout = absl::Seconds(2);
constexpr absl::Duration kLeastPause = absl::Milliseconds(50);
constexpr absl::Duration kMostPause = absl::Seconds(1);
// etcd ends connections that ask for a sign of life more often than every 5 seconds.
constexpr absl::Duration kSignOfLifeInterval = absl::Seconds(6);
constexpr absl::Duration kSignOfLifeTimeout = absl::Seconds(3);
// A page of a list is made smaller if it exceeds this; one value is never larger than a commit.
constexpr int kMaxAnswerBytes = 64 << 20;

int Milliseconds(absl::Duration duration) { return static_cast<int>(duration / absl::Milliseconds(1)); }

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, Milliseconds(kLeastPause));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, Milliseconds(kMostPause));
  // In truth how long gRPC waits for a connection: the dialer must give up first, as it knows why.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, Milliseconds(kConnectTimeout + absl::Seconds(1)));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(kSignOfLifeInterval));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(kSignOfLifeTimeout));
  // A watch of a quiet range sends nothing for days.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetMaxReceiveMessageSize(kMaxAnswerBytes);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return arguments;
}

absl::StatusOr<std::unique_ptr<transport::Dialer>> MakeDialer(const EtcdOptions& options, absl::string_view address) {
  transport::Dialer::Options dialer;
  dialer.address = std::string(address);
  dialer.timeout = kConnectTimeout;
  transport::Dialer::Certificates& certificates = dialer.certificates.emplace();
  ASSIGN_OR_RETURN(certificates.ca_pem, ReadFile(options.ca_file, kMaxPemBytes));
  ASSIGN_OR_RETURN(certificates.certificate_pem, ReadFile(options.certificate_file, kMaxPemBytes));
  ASSIGN_OR_RETURN(certificates.key_pem, ReadSecretFile(options.key_file, kMaxPemBytes));
  certificates.server_name = options.server_name;
  return transport::Dialer::Create(std::move(dialer));
}

absl::StatusOr<std::unique_ptr<EtcdMember>> MakeMember(const EtcdOptions& options, const std::string& endpoint) {
  absl::string_view rest = endpoint;
  if (absl::ConsumePrefix(&rest, "http://")) {
    return std::make_unique<EtcdMember>(endpoint, std::string(rest), nullptr);
  }
  if (absl::StartsWith(rest, "unix:")) return std::make_unique<EtcdMember>(endpoint, endpoint, nullptr);
  ASSIGN_OR_RETURN(auto dialer, MakeDialer(options, absl::StripPrefix(rest, "https://")));
  const std::string target = dialer->target();
  return std::make_unique<EtcdMember>(endpoint, target, std::move(dialer));
}

}  // namespace

void RequireLeader(grpc::ClientContext* context) { context->AddMetadata("hasleader", "true"); }

EtcdMember::EtcdMember(std::string endpoint, std::string target, std::unique_ptr<transport::Dialer> dialer)
    : endpoint_(std::move(endpoint)),
      dialer_(std::move(dialer)),
      channel_(grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), Arguments())),
      kv_(etcdserverpb::KV::NewStub(channel_)),
      watch_(etcdserverpb::Watch::NewStub(channel_)),
      lease_(etcdserverpb::Lease::NewStub(channel_)),
      maintenance_(etcdserverpb::Maintenance::NewStub(channel_)) {}

absl::Status EtcdMember::Connect(absl::Duration timeout) const {
  const absl::Duration deadline = TimeSinceBoot() + timeout;
  while (true) {
    const grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/true);
    if (state == GRPC_CHANNEL_READY) return absl::OkStatus();
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE ||
        !channel_->WaitForStateChange(state, DeadlineIn(deadline - TimeSinceBoot()))) {
      return Explain(grpc::Status(grpc::StatusCode::UNAVAILABLE, "there is no connection"));
    }
  }
}

void EtcdMember::AwaitConnection(absl::Duration timeout) const {
  channel_->WaitForStateChange(GRPC_CHANNEL_TRANSIENT_FAILURE, DeadlineIn(timeout));
}

absl::Status EtcdMember::Explain(const grpc::Status& status) const {
  if (dialer_ != nullptr) {
    if (absl::Status cause = dialer_->last_error(); !cause.ok()) return cause;
  }
  return Unavailable("STORE_UNAVAILABLE", endpoint_, " does not serve (", status.error_message(), ")");
}

absl::StatusOr<std::unique_ptr<EtcdCluster>> EtcdCluster::Create(const EtcdOptions& options) {
  RETURN_IF_ERROR(CheckEtcdOptions(options));
  transport::KeepGrpcInitialized();
  std::vector<std::unique_ptr<EtcdMember>> members;
  for (const std::string& endpoint : options.endpoints) {
    ASSIGN_OR_RETURN(members.emplace_back(), MakeMember(options, endpoint));
  }
  return std::unique_ptr<EtcdCluster>(new EtcdCluster(std::move(members), options));
}

EtcdCluster::EtcdCluster(std::vector<std::unique_ptr<EtcdMember>> members, const EtcdOptions& options)
    : members_(std::move(members)), call_timeout_(options.call_timeout), try_timeout_(options.try_timeout) {}

void EtcdCluster::MoveOn(EtcdMember* failed, const absl::Status& why) {
  if (failed->SetFailing(true)) {
    LogWarning("a member of etcd failed", {{"member", failed->endpoint()}, {"error", std::string(why.message())}});
  }
  // Several calls may fail at once, and one of them moves.
  size_t index = current_.load();
  if (members_[index].get() == failed) current_.compare_exchange_strong(index, (index + 1) % members_.size());
}

void EtcdCluster::Succeeded(EtcdMember* member) {
  if (member->SetFailing(false)) LogInfo("a member of etcd serves again", {{"member", member->endpoint()}});
}

absl::StatusOr<EtcdMember*> EtcdCluster::Connect(absl::Duration timeout) {
  const absl::Duration deadline = TimeSinceBoot() + timeout;
  absl::Status cause;
  for (size_t i = 0; i < members_.size(); ++i) {
    EtcdMember* const member = current();
    cause = member->Connect(std::min(deadline - TimeSinceBoot(), kConnectTimeout));
    if (cause.ok()) return member;
    MoveOn(member, cause);
  }
  return cause;
}

absl::StatusOr<etcdserverpb::StatusResponse> EtcdCluster::GetStatus() {
  const etcdserverpb::StatusRequest request;
  etcdserverpb::StatusResponse response;
  RETURN_IF_ERROR(Call(Effect::kRepeatable, 0, [&](EtcdMember* member, grpc::ClientContext* context) {
    return transport::AwaitCall(
        [&](auto done) { member->maintenance()->async()->Status(context, &request, &response, std::move(done)); });
  }));
  return response;
}

absl::Status EtcdCluster::Call(Effect effect, int64_t revision, Try one_try) {
  const absl::Duration deadline = TimeSinceBoot() + call_timeout_;
  Backoff pauses(kLeastPause, kMostPause);
  absl::Status cause;
  while (true) {
    const absl::StatusOr<EtcdMember*> member = Connect(deadline - TimeSinceBoot());
    if (member.ok()) {
      grpc::ClientContext context;
      RequireLeader(&context);
      const bool once = effect == Effect::kOnce;
      const absl::Duration left = deadline - TimeSinceBoot();
      context.set_deadline(DeadlineIn(once ? left : std::min(left, try_timeout_)));
      const grpc::Status status = one_try(*member, &context);
      const EtcdOutcome outcome = OutcomeOf(status);
      if (status.ok() || outcome == EtcdOutcome::kAnswered) {
        Succeeded(*member);
        return EtcdError(status, revision);
      }
      cause = (*member)->Explain(status);
      MoveOn(*member, cause);
      if (once && outcome == EtcdOutcome::kUnknown) {
        return Unavailable("STORE_UNAVAILABLE",
                           "etcd did not answer, so the change may or may not have been made: ", cause.message());
      }
    } else {
      cause = member.status();
    }
    const absl::Duration pause = pauses.Next();
    if (TimeSinceBoot() + pause >= deadline) break;
    current()->AwaitConnection(pause);
  }
  return Unavailable("STORE_UNAVAILABLE", "etcd can not be reached, or fewer than half of its members run; ",
                     "nothing was changed: ", cause.message());
}

}  // namespace parley::store
