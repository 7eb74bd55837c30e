#include "services/enrolld/exchanges/exchange_stream.h"

#include <utility>

#include "lib/audit/audit_log.h"
#include "lib/base/error.h"
#include "services/enrolld/domain/names.h"
#include "services/enrolld/exchanges/access.h"

namespace parley::enrolld {
namespace {

constexpr absl::string_view kMethod = "parley.enrol.v1.ExchangeService.Exchange";
// Answers that may wait; a hello is answered with four at most.
constexpr size_t kMaxOutbox = 16;

}  // namespace

ExchangeStream::ExchangeStream(const EnrolldParts* parts, ExchangeSessions* sessions, rpc::Caller caller)
    : parts_(parts), sessions_(sessions), caller_(std::move(caller)), strand_(parts->workers, caller_.flow()) {}

void ExchangeStream::Begin() {
  parts_->streams->Add(self());
  UnlessClosing([this] { StartRead(&incoming_); });
}

void ExchangeStream::OnReadDone(bool ok) {
  if (ok) {
    strand_.Run([self = self()] { self->Handle(); });
  } else {
    // It has said all that it will.
    strand_.Run([self = self()] { self->Close(absl::OkStatus()); });
  }
}

void ExchangeStream::OnSent() {
  strand_.Run([self = self()] { self->ReadMore(); });
}

void ExchangeStream::OnClosed() {
  strand_.Run([self = self()] {
    self->parts_->streams->Remove(self.get());
    if (self->session_ == nullptr) return;
    self->session_->Gone(self->id_);
    self->sessions_->Leave(self->invitation_);
  });
}

void ExchangeStream::Handle() {
  reading_ = false;
  if (closed()) return;
  if (const absl::Status status = Dispatch(); !status.ok()) return Close(status);
  ReadMore();
}

void ExchangeStream::ReadMore() {
  if (reading_ || waiting() >= kMaxOutbox) return;
  UnlessClosing([this] {
    reading_ = true;
    incoming_.Clear();
    StartRead(&incoming_);
  });
}

absl::Status ExchangeStream::Dispatch() {
  if (incoming_.has_hello()) {
    RETURN_IF_ERROR(Open(incoming_.hello().invitation()));
    session_->Hello(id_, self(), who_, incoming_.hello());
    return absl::OkStatus();
  }
  if (session_ == nullptr) {
    return Error(absl::StatusCode::kInvalidArgument, "HELLO_MISSING", "a stream begins with hello");
  }
  const bool done = incoming_.has_done() && who_.role == sas::Role::kGreeter;
  if (!incoming_.has_message() && !incoming_.has_stop() && !done) {
    return Error(absl::StatusCode::kInvalidArgument, "REQUEST_MALFORMED", "this message is not one of this side's");
  }
  session_->Handle(id_, who_, incoming_);
  return absl::OkStatus();
}

// Finds out whose stream this is, and whether it may be here.
absl::Status ExchangeStream::Open(const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, ParseInvitationName(name));
  if (session_ != nullptr) {
    if (id == invitation_) return absl::OkStatus();
    return Error(absl::StatusCode::kInvalidArgument, "OTHER_INVITATION", "a stream serves one invitation");
  }
  CallingParty who = {sas::Role::kGreeter, caller_.Name()};
  if (caller_.role() == access::v1::ROLE_INVITEE) {
    who.role = sas::Role::kClaimer;
    if (caller_.subject() != id) {
      return RecordRefusal(parts_->audit, caller_.Name(), kMethod, "OTHER_INVITATION",
                           "this link is of another invitation");
    }
  }
  absl::StatusOr<std::shared_ptr<ExchangeSession>> session = sessions_->Find(id);
  if (absl::IsNotFound(session.status())) return NoInvitation(name);
  RETURN_IF_ERROR(session.status());
  if (who.role == sas::Role::kGreeter) {
    ASSIGN_OR_RETURN(const enrol::v1::Invitation invitation, (*session)->Show());
    const absl::Status handles = CheckHandles(parts_->audit, caller_, kMethod, invitation);
    if (!handles.ok()) sessions_->Leave(id);
    RETURN_IF_ERROR(handles);
  }
  id_ = ExchangeSessions::NewStream();
  invitation_ = id;
  session_ = *std::move(session);
  who_ = std::move(who);
  return absl::OkStatus();
}

}  // namespace parley::enrolld
