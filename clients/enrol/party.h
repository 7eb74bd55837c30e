// One side of an enrolment from the first hello to the end: what greeter and claimer have in common.
//
// Guarantees: whatever the relay does, this device exchanges payloads only with the device whose code its person heard.
// An attempt that may have been an attack is counted in the device file before the nonce leaves, so that neither a
// crash nor a restart hides it; so is one that the relay says the other side suspects, whatever was seen here. What
// cannot be taken back is in the device file before it is sent. A broken connection is opened again, and the exchange
// goes on; each wait ends.
//
// Threads: one thread. Run blocks.
#ifndef PARLEY_CLIENTS_ENROL_PARTY_H_
#define PARLEY_CLIENTS_ENROL_PARTY_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "clients/enrol/person.h"
#include "clients/enrol/relay_stream.h"
#include "lib/base/backoff.h"
#include "lib/base/clock.h"
#include "lib/device/device_file.h"
#include "lib/sas/exchange.h"

namespace parley::enrol {

// "invitations/{id}".
std::string InvitationName(absl::string_view id);

struct PartyOptions {
  // 32 hex digits.
  std::string invitation;
  // All four must outlive the party. The device file has an enrolment of this invitation.
  device::DeviceFile* device = nullptr;
  RelayStream* relay = nullptr;
  Person* person = nullptr;
  Clock* clock = Clock::System();
  // Becomes readable when the person wants to stop; -1 for never.
  int cancel_fd = -1;
  // How long a broken connection is tried again.
  absl::Duration reconnect_for = absl::Minutes(2);
};

class Party {
 public:
  virtual ~Party() = default;
  Party(const Party&) = delete;
  Party& operator=(const Party&) = delete;

  // Runs until both sides are done. The next run goes on from what the device file then has of the invitation; over()
  // tells that there is nothing to go on with. Returns CANCELLED (CANCELLED) if the person here stopped it, or the
  // error that ended it.
  absl::Status Run();
  // Returns whether the invitation has ended for good.
  bool over() const { return over_; }

 protected:
  Party(sas::Role role, PartyOptions options);

  // Returns what this side seals at `step`, given what the other side sealed before. Errors
  // that may pass (MayPass in lib/base/may_pass.h) are tried again; others end the attempt.
  virtual absl::StatusOr<Secret> MakePayload(int step, const Secret& received) = 0;

  const PartyOptions& options() const { return options_; }
  // Returns this side's record in the device file.
  const device::Enrolment& enrolment() const;
  // Returns the errors of DeviceFile::Update and of `change`.
  absl::Status UpdateEnrolment(const std::function<absl::Status(device::Contents*, device::Enrolment*)>& change);

 private:
  // Runs one stream until all is done. With stream_broke_ the error is the relay's or the connection's.
  absl::Status RunStream();
  absl::Status Restore();
  // Waits before the next stream. Returns an error if it was tried for long enough.
  absl::Status Reconnect(const absl::Status& why);
  // The relay will have neither this stream nor another one.
  absl::Status Refused(const absl::Status& why);
  // Something here failed, or the person stopped. Ends what cannot go on in another run.
  absl::Status GiveUp(absl::Status why);

  void SayHello();
  void SendMessage(const std::string& message);
  // Returns what interrupted a question, or else what the relay has next.
  absl::StatusOr<std::optional<v1::ExchangeResponse>> TakeNext();
  // Waits for the relay or the time. Returns no value if the time was over.
  absl::StatusOr<std::optional<v1::ExchangeResponse>> Await(absl::Time until, bool may_cancel);
  absl::Status WaitBeforeRetry();

  absl::Status Handle(const v1::ExchangeResponse& response);
  absl::Status OnState(const v1::State& state);
  absl::Status OnMessage(const v1::Message& message);
  absl::Status OnEnded(const v1::Ended& ended);
  // Begins the exchange of a new attempt.
  absl::Status Begin(uint32_t attempt);
  // Does everything that is this side's turn.
  absl::Status Advance();
  absl::Status Choose();
  absl::Status SendPayload();
  absl::Status Finish();

  absl::Status UpdateAttempts(void (*change)(sas::Attempts*));
  absl::Status CountBeforeNonce();
  // Stores what a restart goes on from, in place of the count, once both codes were compared.
  absl::Status StoreState();
  // Ends the attempt from here, and learns from the relay what is left of the invitation.
  void ReportStop(const absl::Status& why);
  absl::Status Stop(const absl::Status& why);
  // Counts the attempt that is over, and shows it. Returns OK if the person wants another one and it may follow.
  absl::Status AttemptOver(const absl::Status& why, bool may_go_on);

  const sas::Role role_;
  const PartyOptions options_;
  const std::string name_;
  std::string instance_;
  std::optional<sas::Exchange> exchange_;
  // This side's message of step 0.
  std::string opening_;
  // The device file counts the attempt as suspected already.
  bool counted_ = false;
  // The relay counts the attempt that ended as a suspected attack: it, or the other side, saw what this side did not.
  bool relay_suspects_ = false;
  bool person_decides_ = false;
  int quiet_ends_ = 0;
  // What came while the person was asked, and made the question void.
  std::optional<absl::StatusOr<std::optional<v1::ExchangeResponse>>> interruption_;
  absl::Time give_up_at_ = absl::InfiniteFuture();
  Backoff backoff_;
  bool stream_broke_ = false;
  bool over_ = false;
  bool finished_ = false;
};

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_PARTY_H_
