#include "services/enrolld/invitations/outbox.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/audit/audit_log.h"
#include "lib/base/backoff.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/proto_time.h"
#include "services/enrolld/domain/mail_text.h"

namespace parley::enrolld {
namespace {

using enrol::v1::Invitation;

constexpr absl::Duration kFirstRetry = absl::Seconds(30);
constexpr absl::Duration kLastRetry = absl::Minutes(30);

}  // namespace

absl::Status Outbox::Load() {
  ASSIGN_OR_RETURN(const std::vector<MailRecord> mails, parts_->store->Mails());
  for (const MailRecord& mail : mails) Add(mail.invitation(), ToTime(mail.next_time()));
  return absl::OkStatus();
}

void Outbox::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Outbox::Add(const std::string& invitation, absl::Time time) {
  {
    MutexLock lock(&mutex_);
    waiting_[invitation] = time;
    changed_.NotifyAll();
  }
  parts_->timers->Schedule(time, [this] {
    MutexLock lock(&mutex_);
    changed_.NotifyAll();
  });
}

void Outbox::OnChange(const InvitationStore::Moved& moved, const store::Change& change) {
  using What = InvitationStore::Moved::What;
  const bool put = moved.what == What::kMail && change.value.has_value();
  // The process that sent it may have ended before it was done.
  const bool released = moved.what == What::kClaim && !change.value.has_value();
  if (put || released) Add(moved.id, parts_->clock->Now());
}

void Outbox::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Outbox::Run() {
  while (true) {
    std::string invitation;
    {
      MutexLock lock(&mutex_);
      while (!stopping_) {
        const absl::Time now = parts_->clock->Now();
        const auto due =
            std::find_if(waiting_.begin(), waiting_.end(), [now](const auto& item) { return item.second <= now; });
        if (due != waiting_.end()) {
          invitation = due->first;
          waiting_.erase(due);
          break;
        }
        changed_.Wait(&mutex_);
      }
      if (stopping_) return;
    }
    if (const absl::Status status = Try(invitation); !status.ok()) {
      LogError("a mail can not be sent now", {{"invitation", invitation}, {"error", std::string(status.message())}});
      Add(invitation, parts_->clock->Now() + kFirstRetry);
    }
  }
}

absl::Status Outbox::Try(const std::string& invitation) {
  ASSIGN_OR_RETURN(auto mail, parts_->store->FindMail(invitation));
  if (!mail.has_value()) return absl::OkStatus();
  if (const absl::Time due = ToTime(mail->record.next_time()); due > parts_->clock->Now()) {
    Add(invitation, due);
    return absl::OkStatus();
  }
  if (parts_->replicas == nullptr) return SendClaimed(*std::move(mail));
  RETURN_IF_ERROR(parts_->replicas->CheckHeld());
  ASSIGN_OR_RETURN(const bool claimed,
                   parts_->store->ClaimMail(*mail, parts_->replicas->name(), parts_->replicas->lease()));
  // Its change or its release will be heard of.
  if (!claimed) return absl::OkStatus();
  RETURN_IF_ERROR(SendClaimed(*std::move(mail)));
  return parts_->store->ReleaseMail(invitation, parts_->replicas->name());
}

absl::Status Outbox::SendClaimed(InvitationStore::StoredMail stored) {
  MailRecord& mail = stored.record;
  const absl::StatusOr<std::shared_ptr<ExchangeSession>> session = sessions_->Find(mail.invitation());
  // The invitation is gone, and the mail with it.
  if (absl::IsNotFound(session.status())) return absl::OkStatus();
  RETURN_IF_ERROR(session.status());
  ASSIGN_OR_RETURN(const InvitationRecord record, (*session)->Record());
  const bool pending = record.invitation().state() == Invitation::STATE_PENDING;
  const absl::Status sent = pending ? Send(mail, record) : absl::OkStatus();
  mail.set_tries(mail.tries() + 1);
  const absl::Time now = parts_->clock->Now();
  const bool again = pending && absl::IsUnavailable(sent);
  const bool given_up = !pending || (!sent.ok() && !again);
  if (again) *mail.mutable_next_time() = ToProto(now + DoubledPause(kFirstRetry, kLastRetry, mail.tries() - 1));
  const absl::Status noted =
      (*session)->Change([&](InvitationRecord* changed, InvitationStore::Change* change) -> absl::StatusOr<bool> {
        ASSIGN_OR_RETURN(const auto newest, parts_->store->FindMail(mail.invitation()));
        // Sent again meanwhile: that is another mail.
        if (!newest.has_value() || newest->revision != stored.revision) return false;
        change->mail = again ? &mail : nullptr;
        change->drop_mail = !again;
        enrol::v1::Mail& shown = *changed->mutable_invitation()->mutable_mail();
        shown.set_state(again      ? enrol::v1::Mail::STATE_QUEUED
                        : given_up ? enrol::v1::Mail::STATE_FAILED
                                   : enrol::v1::Mail::STATE_SENT);
        shown.set_tries(mail.tries());
        *shown.mutable_try_time() = ToProto(now);
        shown.set_sentence(sent.ok() ? "" : std::string(sent.message()));
        return true;
      });
  RecordAction(parts_->audit, "enrolld", again || given_up ? "invitation.mail_failed" : "invitation.mailed",
               record.invitation().name(), sent.ok() ? mail.email() : absl::StrCat(mail.email(), ": ", sent.message()));
  RETURN_IF_ERROR(noted);
  if (again) Add(mail.invitation(), ToTime(mail.next_time()));
  return absl::OkStatus();
}

absl::Status Outbox::Send(const MailRecord& mail, const InvitationRecord& record) {
  ASSIGN_OR_RETURN(const Secret link, keys_->Link(record));
  MailText text;
  text.from = mailer_->from();
  text.to = mail.email();
  text.organisation = parts_->organisation;
  text.creator = record.invitation().creator();
  text.user_name = record.invitation().user_name();
  text.device = record.invitation().kind() == Invitation::KIND_DEVICE;
  text.expire_time = ToTime(record.invitation().expire_time());
  text.time = parts_->clock->Now();
  text.message_id = absl::StrCat(mail.invitation(), ".", absl::ToUnixSeconds(text.time));
  return mailer_->Send(mail.email(), WriteMail(text, link));
}

}  // namespace parley::enrolld
