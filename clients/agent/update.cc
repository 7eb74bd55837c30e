#include "clients/agent/update.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/agent/chunk_store.h"
#include "clients/agent/download.h"
#include "clients/agent/faults.h"
#include "clients/agent/operator_check.h"
#include "grpcpp/channel.h"
#include "lib/base/error.h"

namespace parley::agent {
namespace {

using task::v1::Manifest;
using task::v1::NegotiateRequest;
using task::v1::Participant;

constexpr size_t kMaxDetailBytes = 4096;
constexpr absl::Duration kReportEvery = absl::Seconds(5);
constexpr absl::Duration kShowEvery = absl::Milliseconds(100);
constexpr absl::Duration kConfirmCallTimeout = absl::Seconds(20);
// When somebody waits for the agent to end.
constexpr absl::Duration kLastConfirmTimeout = absl::Seconds(5);
// How often the tree is built anew because somebody wrote to the target meanwhile.
constexpr int kMaxBuilds = 3;

absl::Time TimeOf(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

absl::Status Interrupted() {
  return Error(absl::StatusCode::kAborted, "INTERRUPTED", "the server has something else to say");
}

std::string HookDetail(const HookResult& hook) {
  return Detail(
      absl::StrCat(hook.output, hook.output.empty() || hook.output.back() == '\n' ? "" : "\n", hook.status.message()));
}

}  // namespace

std::string ReasonCode(const absl::Status& status) {
  const std::string reason = Reason(status);
  return reason.empty() ? "failed" : absl::AsciiStrToLower(reason);
}

std::string Detail(absl::string_view text) {
  if (text.size() > kMaxDetailBytes) text.remove_prefix(text.size() - kMaxDetailBytes);
  std::string detail;
  for (size_t i = 0; i < text.size();) {
    const unsigned char first = static_cast<unsigned char>(text[i]);
    const size_t length = first < 0x80   ? 1
                          : first < 0xc2 ? 0
                          : first < 0xe0 ? 2
                          : first < 0xf0 ? 3
                          : first < 0xf5 ? 4
                                         : 0;
    bool whole = length > 0 && i + length <= text.size() && (first >= 0x20 || first == '\n' || first == '\t');
    for (size_t k = 1; whole && k < length; ++k) whole = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
    // Overlong forms and surrogates, which a proto string may not hold either.
    if (whole && length == 3) {
      const unsigned char second = static_cast<unsigned char>(text[i + 1]);
      whole = !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second > 0x9f);
    }
    if (whole && length == 4) {
      const unsigned char second = static_cast<unsigned char>(text[i + 1]);
      whole = !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f);
    }
    absl::StrAppend(&detail, whole ? text.substr(i, length) : "?");
    i += whole ? length : 1;
  }
  return detail;
}

Update::Update(const Options* options, const Announcer* announce, TaskState* state, TargetFolder* folder,
               Cancellation* cancellation)
    : options_(*options),
      announce_(*announce),
      state_(state),
      folder_(folder),
      cancellation_(cancellation),
      task_(absl::StrCat("tasks/", payload::LastPart(state->folder()))) {}

Update::~Update() { EndTurn(); }

void Update::BeginTurn() {
  if (!turn_) folder_->BeginUpdate();
  turn_ = true;
}

void Update::EndTurn() {
  if (turn_) folder_->EndUpdate();
  turn_ = false;
}

absl::Status Update::Reopen() {
  BeginTurn();
  ASSIGN_OR_RETURN(
      Installer installer,
      Installer::Open(folder_, {.clock = options_.clock, .hooks = options_.hooks, .boot_clock = options_.boot_clock}));
  installer_.emplace(std::move(installer));
  RETURN_IF_ERROR(installer_->Adopt(task_, state_->folder()));
  if (!pending() || installer_->pending()->task == task_) return absl::OkStatus();
  RETURN_IF_ERROR(installer_->BeginRollback(
      "interrupted", "the agent stopped during the update, and then did another task", /*passing=*/true));
  return installer_->FinishRollback();
}

UpdatePlan Update::Plan(int32_t attempt) const {
  return {.task = task_,
          .attempt = attempt,
          .hooks = options_.hooks,
          .variables = {},
          .confirm_timeout = options_.confirm_timeout,
          .state_folder = state_->folder()};
}

absl::Status Update::Open() {
  RETURN_IF_ERROR(Reopen());
  if (!pending()) EndTurn();
  return absl::OkStatus();
}

absl::Status Update::Declare(task::v1::Declaration* declaration) const {
  declaration->set_installed_revision(installed_revision());
  // A set whose hooks have not passed is not one that is installed.
  const std::optional<Installer::Pending> pending = installer_->pending();
  if (pending.has_value() && !pending->applied) return absl::OkStatus();
  if (pending.has_value()) {
    ASSIGN_OR_RETURN(*declaration->mutable_installed_digest(), installer_->PendingDigest());
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const Installer::OnDisk on_disk, installer_->Read(task_));
  declaration->set_installed_digest(on_disk.digest);
  declaration->set_taken_over(on_disk.taken_over);
  return absl::OkStatus();
}

absl::Status Update::Check(const Manifest& manifest) const {
  RETURN_IF_ERROR(installer_->CheckRevision(task_, manifest));
  return installer_->Check(task_, manifest);
}

bool Update::overdue() const {
  const std::optional<Installer::Pending> pending = installer_->pending();
  return pending.has_value() && pending->undecided > pending->confirm_timeout;
}

absl::StatusOr<bool> Update::Report(Negotiation* negotiation, Participant::State state, const std::string& reason,
                                    const std::string& detail, int64_t bytes) {
  const int32_t attempt = negotiation->current().attempt();
  NegotiateRequest request;
  request.mutable_progress()->set_state(state);
  request.mutable_progress()->set_reason(reason);
  request.mutable_progress()->set_detail(Detail(detail));
  request.mutable_progress()->set_transferred_bytes(bytes);
  RETURN_IF_ERROR(negotiation->Ask(std::move(request)));
  return negotiation->current().state() == state && negotiation->current().attempt() == attempt;
}

// The old set is installed still, which is what ROLLED_BACK says.
absl::Status Update::FailBeforeSwap(Negotiation* negotiation, const absl::Status& why) {
  result_ = Result{.error = why, .reason = ReasonCode(why), .detail = std::string(why.message())};
  announce_([&](Observer* o) { o->RollingBack(task_, result_->reason, result_->detail); });
  announce_([&](Observer* o) { o->RolledBack(task_); });
  return Report(negotiation, Participant::STATE_ROLLED_BACK, result_->reason, result_->detail).status();
}

absl::Status Update::FetchRest(transport::Channel* channel, Negotiation* negotiation, const Manifest& manifest,
                               Download* download, absl::Status* failure) {
  const auto stub = task::v1::ArtifactService::NewStub(channel->grpc());
  absl::Time reported = absl::Now(), shown = absl::InfinitePast();
  bool server_said_so = false, offsets_refused = false;
  const auto on_progress = [&](const DownloadCounts& counts) -> absl::Status {
    const absl::Time now = absl::Now();
    if (now - shown >= kShowEvery) {
      shown = now;
      announce_([&](Observer* o) { o->Progress(task_, counts.done_bytes, counts.total_bytes); });
    }
    if (now - reported < kReportEvery) return absl::OkStatus();
    reported = now;
    if (negotiation->current().state() != Participant::STATE_TRANSFERRING) return absl::OkStatus();
    const auto still = Report(negotiation, Participant::STATE_TRANSFERRING, "", "", counts.received_bytes);
    return still.ok() && *still ? absl::OkStatus() : Interrupted();
  };
  const auto explain = [&](const grpc::Status& status) {
    server_said_so = true;
    return Explain(*channel, status);
  };
  while (!download->complete() && !negotiation->interrupted()) {
    grpc::ClientContext context;
    const Cancellation::Listener on_cancel(cancellation_, [&context] { context.TryCancel(); });
    negotiation->SetInterrupt([&context] { context.TryCancel(); });
    const absl::Status status = download->Fetch(stub.get(), &context, on_progress, explain);
    negotiation->SetInterrupt(nullptr);
    if (cancellation_->cancelled()) return Stopped();
    if (Reason(status) == "INTERRUPTED") return absl::OkStatus();
    if (status.ok() || negotiation->interrupted()) continue;
    if (!server_said_so) {
      *failure = status;
      return absl::OkStatus();
    }
    if (status.code() == absl::StatusCode::kOutOfRange && !offsets_refused) {
      offsets_refused = true;
      download->DropParts();
      continue;
    }
    if (FaultOf(status) == Fault::kPasses) return status;
    *failure = status;
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status Update::Fetch(transport::Channel* channel, Negotiation* negotiation, const Manifest& manifest,
                           ChunkStore* store, absl::Status* failure) {
  Download download(&manifest, store);
  const std::vector<std::string> installed = installer_->view(task_).paths;
  *failure = download.TakeFromTarget(folder_->target(), {installed.begin(), installed.end()});
  if (!failure->ok()) return absl::OkStatus();
  if (!download.complete()) RETURN_IF_ERROR(FetchRest(channel, negotiation, manifest, &download, failure));
  if (!download.complete() || !failure->ok()) return absl::OkStatus();
  const DownloadCounts& counts = download.counts();
  announce_([&](Observer* o) { o->Progress(task_, counts.done_bytes, counts.total_bytes); });
  announce_([&](Observer* o) { o->Fetched(task_, counts.received_bytes, counts.reused_bytes); });
  if (negotiation->current().state() != Participant::STATE_TRANSFERRING) return absl::OkStatus();
  return Report(negotiation, Participant::STATE_TRANSFERRING, "", "", counts.received_bytes).status();
}

// True when it is time to apply; false when the server has something else to say.
absl::StatusOr<bool> Update::WaitForWindow(Negotiation* negotiation, const task::v1::Offer& offer) {
  if (!offer.has_window()) return true;
  const absl::Time start = TimeOf(offer.window().start_time());
  if (options_.clock->Now() >= start) return true;
  announce_([&](Observer* o) { o->Waiting(task_, "the window that was agreed on opens later", start); });
  ASSIGN_OR_RETURN(const bool interrupted, negotiation->Next(start));
  return !interrupted;
}

absl::Status Update::StageAndSwap(Negotiation* negotiation, const Manifest& manifest, const ChunkStore& store,
                                  bool* swapped) {
  *swapped = false;
  const auto read_chunk = [&store](absl::string_view digest) { return store.Read(digest); };
  for (int build = 1;; ++build) {
    absl::Status status = Reopen();
    if (status.ok()) status = installer_->Stage(Plan(negotiation->current().attempt()), manifest, read_chunk);
    chunk_lost_ = Reason(status) == "CHUNK_MISSING";
    if (chunk_lost_) return absl::OkStatus();
    if (!status.ok()) return FailBeforeSwap(negotiation, status);
    if (negotiation->current().state() == Participant::STATE_STAGED) {
      ASSIGN_OR_RETURN(const bool reported, Report(negotiation, Participant::STATE_APPLYING));
      if (!reported) return absl::OkStatus();
    }
    status = installer_->Swap();
    *swapped = pending();
    if (status.ok()) return absl::OkStatus();
    if (*swapped) return RollBack(ReasonCode(status), std::string(status.message()), negotiation);
    if (Reason(status) != "TARGET_CHANGED" || build == kMaxBuilds) return FailBeforeSwap(negotiation, status);
  }
}

absl::Status Update::Carry(transport::Channel* channel, Negotiation* negotiation, const Manifest& manifest,
                           const task::v1::Offer& offer) {
  absl::Cleanup end_turn = [this] {
    if (!pending()) EndTurn();
  };
  if (negotiation->current().state() == Participant::STATE_ACCEPTED) {
    ASSIGN_OR_RETURN(const bool reported, Report(negotiation, Participant::STATE_TRANSFERRING));
    if (!reported) return absl::OkStatus();
  }
  absl::StatusOr<ChunkStore> store = ChunkStore::Open(ChunkFolder());
  if (!store.ok()) return FailBeforeSwap(negotiation, store.status());
  do {
    chunk_lost_ = false;
    absl::Status failure;
    RETURN_IF_ERROR(Fetch(channel, negotiation, manifest, &*store, &failure));
    if (!failure.ok()) return FailBeforeSwap(negotiation, failure);
    if (negotiation->interrupted()) return negotiation->Next(absl::InfiniteFuture()).status();
    RETURN_IF_ERROR(Apply(negotiation, manifest, offer, *store));
  } while (chunk_lost_);
  return absl::OkStatus();
}

// With every chunk in the store.
absl::Status Update::Apply(Negotiation* negotiation, const Manifest& manifest, const task::v1::Offer& offer,
                           const ChunkStore& store) {
  if (negotiation->current().state() == Participant::STATE_TRANSFERRING) {
    ASSIGN_OR_RETURN(const bool reported, Report(negotiation, Participant::STATE_STAGED));
    if (!reported) return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const bool open, WaitForWindow(negotiation, offer));
  if (!open) return absl::OkStatus();
  if (cancellation_->cancelled()) return Stopped();
  if (options_.clock->Now() >= std::min(TimeOf(offer.deadline()), TimeOf(manifest.expire_time()))) {
    return FailBeforeSwap(negotiation, Error(absl::StatusCode::kFailedPrecondition, "DEADLINE_PASSED",
                                             "the time by which the update had to be applied has passed"));
  }
  // Perhaps long after the offer: who signed it may have been revoked since.
  if (const absl::Status status = CheckOperator(options_, offer.manifest()).status(); !status.ok()) {
    return FaultOf(status) == Fault::kFinal ? FailBeforeSwap(negotiation, status) : status;
  }
  bool swapped = false;
  RETURN_IF_ERROR(StageAndSwap(negotiation, manifest, store, &swapped));
  return swapped && pending() ? Settle(negotiation) : absl::OkStatus();
}

absl::Status Update::Settle(Negotiation* negotiation) {
  const Installer::Pending pending = *installer_->pending();
  const Participant::State state =
      negotiation == nullptr ? Participant::STATE_CHECKING : negotiation->current().state();
  const bool decided = state == Participant::STATE_CONFIRMED || state == Participant::STATE_UP_TO_DATE;
  const bool expected = (state == Participant::STATE_APPLYING || state == Participant::STATE_CHECKING) &&
                        (negotiation == nullptr || negotiation->current().attempt() == pending.attempt);
  if (!decided && !expected) {
    std::string why = absl::AsciiStrToLower(Participant::State_Name(state).substr(sizeof("STATE_") - 1));
    return RollBack(why, "the server does not wait for this update any more", negotiation);
  }
  // Whatever comes of it: the program should not wait for the network with its new files in place.
  absl::Status reported;
  if (state == Participant::STATE_APPLYING) reported = Report(negotiation, Participant::STATE_CHECKING).status();
  if (!pending.applied) {
    if (pending.exhausted) {
      return RollBack("interrupted", "the apply command was running each time the agent was killed", negotiation);
    }
    bool passed = false;
    RETURN_IF_ERROR(RunHooks(negotiation, &passed));
    if (!passed) return absl::OkStatus();
  }
  if (decided) return Commit();
  RETURN_IF_ERROR(reported);
  return Confirm(negotiation);
}

absl::Status Update::RunHooks(Negotiation* negotiation, bool* passed) {
  const HookResult check = installer_->RunCheck();
  if (!check.status.ok()) return RollBack("check_failed", HookDetail(check), negotiation);
  if (!options_.hooks.check.empty()) announce_([&](Observer* o) { o->CheckPassed(task_, check.duration); });
  const absl::StatusOr<HookResult> apply = installer_->RunApply();
  if (!apply.ok()) return RollBack(ReasonCode(apply.status()), std::string(apply.status().message()), negotiation);
  if (!apply->status.ok()) return RollBack("apply_failed", HookDetail(*apply), negotiation);
  announce_([&](Observer* o) { o->Applied(task_, apply->duration); });
  *passed = true;
  return absl::OkStatus();
}

absl::Status Update::CallConfirm(const std::string& digest) {
  ASSIGN_OR_RETURN(const auto channel, ConnectAsMember(state_->membership(), options_.clock));
  const auto stub = task::v1::ParticipationService::NewStub(channel->grpc());
  grpc::ClientContext context;
  const absl::Duration timeout = cancellation_->cancelled() ? kLastConfirmTimeout : kConfirmCallTimeout;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  task::v1::ConfirmRequest request;
  request.set_task(task_);
  request.set_attempt(installer_->pending()->attempt);
  request.set_installed_digest(digest);
  task::v1::ConfirmResponse response;
  return Explain(*channel, stub->Confirm(&context, request, &response));
}

absl::Status Update::Confirm(Negotiation* negotiation) {
  const absl::StatusOr<std::string> digest = installer_->PendingDigest();
  if (!digest.ok()) return RollBack(ReasonCode(digest.status()), std::string(digest.status().message()), negotiation);
  if (*digest != installer_->pending()->digest) {
    return RollBack("digest_mismatch", "a command changed the files that had just been installed", negotiation);
  }
  const absl::Status status = CallConfirm(*digest);
  if (status.ok()) return Commit();
  if (Reason(status) == "DIGEST_DIFFERS")
    return RollBack("digest_mismatch", std::string(status.message()), negotiation);
  return status;
}

absl::Status Update::Commit() {
  const int64_t revision = installer_->pending()->revision;
  const absl::Status status = installer_->Commit();
  result_ = Result{.error = status, .confirmed = true, .unnoted = !status.ok()};
  if (!status.ok()) return absl::OkStatus();
  EndTurn();
  // The target has them all now.
  if (auto store = ChunkStore::Open(ChunkFolder()); store.ok()) store->Prune({}).IgnoreError();
  announce_([&](Observer* o) { o->Confirmed(task_, revision); });
  return absl::OkStatus();
}

absl::Status Update::RollBack(const std::string& reason, const std::string& detail, Negotiation* negotiation) {
  result_ = Result{.reason = reason, .detail = detail};
  announce_([&](Observer* o) { o->RollingBack(task_, reason, detail); });
  RETURN_IF_ERROR(installer_->BeginRollback(reason, detail, /*passing=*/false));
  absl::Status reported;
  if (negotiation != nullptr && (negotiation->current().state() == Participant::STATE_APPLYING ||
                                 negotiation->current().state() == Participant::STATE_CHECKING)) {
    reported = Report(negotiation, Participant::STATE_ROLLING_BACK, reason, detail).status();
  }
  const absl::Status status = installer_->FinishRollback();
  if (status.ok()) {
    announce_([&](Observer* o) { o->RolledBack(task_); });
  } else {
    result_->error = status;
    announce_([&](Observer* o) { o->RollbackFailed(task_, std::string(status.message())); });
  }
  if (!pending()) EndTurn();
  RETURN_IF_ERROR(reported);
  return negotiation == nullptr ? absl::OkStatus() : ReportRollback(negotiation);
}

absl::Status Update::ReportRollback(Negotiation* negotiation) {
  const Installer::RollbackNote rollback = *installer_->view(task_).rollback;
  const Participant::State state = negotiation->current().state();
  const bool applying = state == Participant::STATE_APPLYING || state == Participant::STATE_CHECKING ||
                        state == Participant::STATE_ROLLING_BACK;
  if (!result_.has_value()) result_ = Result{.reason = rollback.reason, .detail = rollback.detail};
  if (applying && negotiation->current().attempt() == rollback.attempt) {
    const auto end = rollback.failed ? Participant::STATE_ROLLBACK_FAILED : Participant::STATE_ROLLED_BACK;
    RETURN_IF_ERROR(Report(negotiation, end, rollback.reason, rollback.detail).status());
  }
  installer_->ForgetRollback(task_).IgnoreError();
  return absl::OkStatus();
}

}  // namespace parley::agent
