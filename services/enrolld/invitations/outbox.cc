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

absl::Status Outbox::Start() {
  ASSIGN_OR_RETURN(const std::vector<MailRecord> mails, parts_->store->Mails());
  for (const MailRecord& mail : mails) Add(mail);
  thread_ = std::thread([this] { Run(); });
  return absl::OkStatus();
}

void Outbox::Add(const MailRecord& mail, bool replaces) {
  {
    MutexLock lock(&mutex_);
    if (!replaces && waiting_.count(mail.invitation()) > 0) return;
    waiting_[mail.invitation()] = mail;
    changed_.NotifyAll();
  }
  parts_->timers->Schedule(ToTime(mail.next_time()), [this] {
    MutexLock lock(&mutex_);
    changed_.NotifyAll();
  });
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
    MailRecord mail;
    {
      MutexLock lock(&mutex_);
      while (!stopping_) {
        const absl::Time now = parts_->clock->Now();
        const auto due = std::find_if(waiting_.begin(), waiting_.end(),
                                      [now](const auto& item) { return ToTime(item.second.next_time()) <= now; });
        if (due != waiting_.end()) {
          mail = std::move(due->second);
          waiting_.erase(due);
          break;
        }
        changed_.Wait(&mutex_);
      }
      if (stopping_) return;
    }
    Try(std::move(mail));
  }
}

void Outbox::Try(MailRecord mail) {
  const absl::StatusOr<std::shared_ptr<ExchangeSession>> session = sessions_->Find(mail.invitation());
  const absl::StatusOr<InvitationRecord> record =
      session.ok() ? (*session)->Record() : absl::StatusOr<InvitationRecord>(session.status());
  if (!record.ok()) return;  // The invitation is gone; or the store fails, and the next start looks again.
  const bool pending = record->invitation().state() == Invitation::STATE_PENDING;
  const absl::Status sent = pending ? Send(mail, *record) : absl::OkStatus();
  mail.set_tries(mail.tries() + 1);
  const absl::Time now = parts_->clock->Now();
  const bool again = pending && absl::IsUnavailable(sent);
  const bool given_up = !pending || (!sent.ok() && !again);
  if (again) *mail.mutable_next_time() = ToProto(now + DoubledPause(kFirstRetry, kLastRetry, mail.tries() - 1));
  const absl::Status stored = (*session)->Change([&](InvitationRecord* changed, InvitationStore::Change* change) {
    // Sent again meanwhile, to somebody else: that is another mail.
    const bool latest = changed->invitation().email() == mail.email();
    change->mail = again && latest ? &mail : nullptr;
    change->drop_mail = !again && latest;
    if (!latest) return absl::StatusOr<bool>(false);
    enrol::v1::Mail& shown = *changed->mutable_invitation()->mutable_mail();
    shown.set_state(again      ? enrol::v1::Mail::STATE_QUEUED
                    : given_up ? enrol::v1::Mail::STATE_FAILED
                               : enrol::v1::Mail::STATE_SENT);
    shown.set_tries(mail.tries());
    *shown.mutable_try_time() = ToProto(now);
    shown.set_sentence(sent.ok() ? "" : std::string(sent.message()));
    return absl::StatusOr<bool>(true);
  });
  if (!stored.ok()) LogError("what became of a mail can not be stored", {{"error", std::string(stored.message())}});
  RecordAction(parts_->audit, "enrolld", again || given_up ? "invitation.mail_failed" : "invitation.mailed",
               record->invitation().name(),
               sent.ok() ? mail.email() : absl::StrCat(mail.email(), ": ", sent.message()));
  // An invitation that was sent again meanwhile has a newer mail.
  if (again) Add(mail, /*replaces=*/false);
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
