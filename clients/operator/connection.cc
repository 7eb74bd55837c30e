#include "clients/operator/connection.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/operator/quantities.h"
#include "lib/keys/dial.h"

namespace parley::ops {

void UseAddress(absl::string_view audience, const std::string& address, keys::Credential* credential) {
  if (address.empty()) return;
  for (keys::AudienceKey& key : credential->keys) {
    if (key.audience == audience) key.address = address;
  }
}

absl::StatusOr<transport::Dialer::Options> DialerOptions(const keys::Credential& credential, absl::string_view path,
                                                         absl::string_view audience) {
  const absl::Time now = absl::Now();
  if (credential.not_after <= now) {
    return Error(absl::StatusCode::kFailedPrecondition, "KEY_EXPIRED",
                 absl::StrCat("the credential ", path, " expired at ", TimeText(credential.not_after),
                              ", and this machine's clock says ", TimeText(now),
                              "; ask an admin for a new one, made with: parley key issue"));
  }
  return keys::DialOptions(credential, audience);
}

Connection::Connection(std::string address, std::unique_ptr<transport::Channel> channel, bool by_admin)
    : address_(std::move(address)), channel_(std::move(channel)), by_admin_(by_admin) {}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const keys::Credential& credential, absl::string_view path,
                                                             absl::string_view audience) {
  ASSIGN_OR_RETURN(transport::Dialer::Options options, DialerOptions(credential, path, audience));
  std::string address = options.address;
  ASSIGN_OR_RETURN(std::unique_ptr<transport::Channel> channel, transport::Channel::Create(std::move(options)));
  return std::unique_ptr<Connection>(
      new Connection(std::move(address), std::move(channel), credential.role == access::v1::ROLE_ADMIN));
}

void Connection::SayBehind(const absl::Status& status) {
  fprintf(stderr, "waiting: %s\n", std::string(status.message()).c_str());
}

absl::Status Connection::Explain(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  absl::Status explained = channel_->Explain(status);
  if (Reason(explained) == "KEY_REFUSED" && by_admin_) {
    return Error(explained.code(), "KEY_REFUSED",
                 absl::StrCat(explained.message(),
                              "; when no admin has a good one, start keyd once with --new-admin, which makes another"));
  }
  if (!Reason(explained).empty()) return explained;
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return Error(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED",
                 absl::StrCat(address_, " did not answer within 30 seconds; see its log, and try again"));
  }
  return explained;
}

}  // namespace parley::ops
