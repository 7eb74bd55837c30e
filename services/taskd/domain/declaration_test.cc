// What a declaration leads to, and what it says of files, failures and other machines.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "services/taskd/domain/participant_testing.h"

namespace parley::taskd {
namespace {

TEST(Declaration, DecidesWhetherThereIsAnythingToOffer) {
  Declaration same = MakeDeclaration();
  same.set_installed_digest(Digest('1'));
  EXPECT_EQ(Name(Declared(same, MakeTask()).participant().state()), "UP_TO_DATE");

  Declaration newer = MakeDeclaration();
  newer.set_installed_revision(9);
  EXPECT_EQ(Declared(newer, MakeTask()).participant().reason(), "newer_revision");

  Declaration full = MakeDeclaration();
  full.set_free_bytes(999);
  EXPECT_EQ(Declared(full, MakeTask()).participant().reason(), "no_space");
  EXPECT_TRUE(Declared(full, MakeTask()).participant().hindered());
  full.set_free_bytes(1000);
  EXPECT_EQ(Name(Declared(full, MakeTask()).participant().state()), "OFFERED");

  EXPECT_EQ(Declared(Declaration(), MakeTask()).participant().reason(), "encoding");
}

TEST(Declaration, OffersWithinTheClientsWindows) {
  Declaration later = MakeDeclaration();
  AddWindow(absl::Hours(5), absl::Hours(6), &later);
  AddWindow(absl::Hours(2), absl::Hours(3), &later);
  const ParticipantRecord queued = Declared(later, MakeTask());
  EXPECT_EQ(Name(queued.participant().state()), "QUEUED");
  EXPECT_EQ(ToTime(queued.retry_time()), kNow + absl::Hours(2));
  EXPECT_FALSE(ApplyEvent(queued, Event::Kind::kOfferDue, MakeTask(), kNow + absl::Hours(1))->has_value());
  const ParticipantRecord offered = **ApplyEvent(queued, Event::Kind::kOfferDue, MakeTask(), kNow + absl::Hours(2));
  EXPECT_EQ(Name(offered.participant().state()), "OFFERED");
  EXPECT_EQ(ToTime(offered.offer_deadline()), kNow + absl::Hours(3));

  Declaration never = MakeDeclaration();
  AddWindow(absl::Hours(-2), absl::Hours(-1), &never);
  AddWindow(absl::Hours(25), absl::Hours(26), &never);
  EXPECT_EQ(Name(Declared(never, MakeTask()).participant().state()), "INELIGIBLE");
}

TEST(Declaration, OfAScheduledTaskWaitsForItsStart) {
  const TaskRecord scheduled = MakeTask(Task::STATE_SCHEDULED);
  const ParticipantRecord queued = Declared(MakeDeclaration(), scheduled);
  EXPECT_EQ(Name(queued.participant().state()), "QUEUED");
  EXPECT_EQ(ToTime(queued.retry_time()), kNow + absl::Hours(1));
  TaskRecord open = scheduled;
  open.mutable_task()->set_state(Task::STATE_OPEN);
  EXPECT_EQ(Outcome(queued, ApplyEvent(queued, Event::Kind::kOfferDue, open, kNow + absl::Hours(1))), "OFFERED");
}

// The record after a declaration; `record` itself when nothing has changed.
ParticipantRecord After(const ParticipantRecord& record, const Declaration& declaration,
                        const TaskRecord& task = MakeTask(), absl::Time now = kNow) {
  const Result result = Declare(record, declaration, task, now);
  EXPECT_TRUE(result.ok()) << result.status();
  return result->value_or(record);
}

ParticipantRecord AfterReport(const ParticipantRecord& record, ParticipantState state, bool passing = false) {
  NegotiateRequest request = Report(record, state);
  request.mutable_progress()->set_reason("check_failed");
  request.mutable_progress()->set_passing(passing);
  return **Send(record, request, MakeTask());
}

Declaration WithHindrance(absl::string_view code) {
  Declaration declaration = MakeDeclaration();
  declaration.mutable_hindrance()->set_code(std::string(code));
  declaration.mutable_hindrance()->set_detail(absl::StrCat("a sentence about ", code));
  return declaration;
}

TEST(Hindrance, IsShownAndEndsWithTheNextDeclarationWithoutIt) {
  const ParticipantRecord hindered = Declared(WithHindrance("clock"), MakeTask());
  EXPECT_EQ(Name(hindered.participant().state()), "INELIGIBLE");
  EXPECT_TRUE(hindered.participant().hindered());
  EXPECT_EQ(hindered.participant().reason(), "clock");
  EXPECT_EQ(hindered.participant().detail(), "a sentence about clock");
  EXPECT_FALSE(hindered.participant().has_lease_time());
  const ParticipantRecord offered = After(hindered, MakeDeclaration());
  EXPECT_EQ(Name(offered.participant().state()), "OFFERED");
  EXPECT_FALSE(offered.participant().hindered());
  EXPECT_EQ(offered.participant().reason(), "");
}

TEST(Hindrance, ThatIsDeclaredAgainChangesNothing) {
  const ParticipantRecord hindered = Declared(WithHindrance("clock"), MakeTask());
  EXPECT_FALSE(Declare(hindered, WithHindrance("clock"), MakeTask(), kNow + absl::Minutes(1))->has_value());
  EXPECT_EQ(After(hindered, WithHindrance("names")).participant().reason(), "names");
}

TEST(Hindrance, OfAClientThatWaitsForANewRevisionHoldsForThatOne) {
  const ParticipantRecord hindered = Declared(WithHindrance("clock"), MakeTask());
  const TaskRecord newer = MakeTask(Task::STATE_OPEN, 2);
  const ParticipantRecord still = **ApplyEvent(hindered, Event::Kind::kOfferDue, newer);
  EXPECT_EQ(Name(still.participant().state()), "INELIGIBLE");
  EXPECT_EQ(still.participant().revision(), 2);
  EXPECT_TRUE(still.participant().hindered());
}

TEST(Hindrance, TakesNeitherADeferralNorAGrantedWindowAway) {
  ParticipantRecord record = MakeRecord(Participant::STATE_OFFERED);
  NegotiateRequest defer = Message(record);
  *defer.mutable_defer()->mutable_until() = ToProto(kNow + absl::Hours(2));
  const ParticipantRecord deferred = **Send(record, defer, MakeTask());
  const ParticipantRecord again = After(After(deferred, WithHindrance("clock")), MakeDeclaration());
  EXPECT_EQ(Name(again.participant().state()), "DEFERRED");
  EXPECT_EQ(ToTime(again.retry_time()), kNow + absl::Hours(2));
  EXPECT_EQ(again.participant().deferrals(), 1);

  NegotiateRequest counter = Message(record);
  *counter.mutable_counter()->mutable_window()->mutable_start_time() = ToProto(kNow + absl::Hours(3));
  *counter.mutable_counter()->mutable_window()->mutable_end_time() = ToProto(kNow + absl::Hours(4));
  const ParticipantRecord granted = **Send(record, counter, MakeTask());
  const ParticipantRecord offered = After(After(granted, WithHindrance("clock")), MakeDeclaration());
  EXPECT_EQ(Name(offered.participant().state()), "OFFERED");
  EXPECT_EQ(ToTime(offered.window().start_time()), kNow + absl::Hours(3));
}

TEST(Hindrance, InATaskThatOffersNothingIsShownToo) {
  for (const Task::State state : {Task::STATE_SCHEDULED, Task::STATE_PAUSED, Task::STATE_HALTED}) {
    const ParticipantRecord queued = Declared(MakeDeclaration(), MakeTask(state));
    ASSERT_EQ(Name(queued.participant().state()), "QUEUED");
    const ParticipantRecord hindered = After(queued, WithHindrance("target_busy"), MakeTask(state));
    EXPECT_EQ(hindered.participant().reason(), "target_busy");
    EXPECT_EQ(Name(After(hindered, MakeDeclaration(), MakeTask(state)).participant().state()), "QUEUED");
  }
}

TEST(Failure, IsRepeatedOnlyWhenSomethingThatMatteredHasChanged) {
  Declaration declared = MakeDeclaration();
  (*declared.mutable_labels())["site"] = "a";
  declared.set_setup_digest(Digest('s'));
  declared.set_installed_digest(Digest('0'));
  ParticipantRecord applying = After(MakeRecord(Participant::STATE_JOINED), declared);
  applying.mutable_participant()->set_state(Participant::STATE_APPLYING);
  const ParticipantRecord failed = AfterReport(applying, Participant::STATE_ROLLED_BACK);
  EXPECT_EQ(Outcome(failed, Declare(failed, declared, MakeTask())), "=");
  // Not even when it says so in other words: these decide nothing.
  Declaration unimportant = declared;
  unimportant.set_free_bytes(12345);
  unimportant.set_installed_revision(7);
  unimportant.set_instance(std::string(16, 'i'));
  EXPECT_EQ(Outcome(failed, Declare(failed, unimportant, MakeTask())), "=");

  std::map<std::string, Declaration> changes;
  for (const char* what : {"setup", "label of an earlier client", "fact", "window", "installed", "nothing installed"})
    changes[what] = declared;
  changes["setup"].set_setup_digest(Digest('t'));
  (*changes["label of an earlier client"].mutable_labels())["site"] = "b";
  (*changes["fact"].mutable_facts())["os"] = "bsd";
  AddWindow(absl::Hours(-1), absl::Hours(1), &changes["window"]);
  changes["installed"].set_installed_digest(Digest('7'));
  changes["nothing installed"].clear_installed_digest();
  for (const auto& [what, declaration] : changes) {
    EXPECT_EQ(Outcome(failed, Declare(failed, declaration, MakeTask())), "OFFERED") << what;
    // Also when a hindrance was declared in between, which does not lead on from a failure.
    Declaration hindered = declaration;
    hindered.mutable_hindrance()->set_code("clock");
    const ParticipantRecord waiting = After(failed, hindered);
    EXPECT_EQ(Name(waiting.participant().state()), "ROLLED_BACK") << what;
    EXPECT_EQ(Outcome(waiting, Declare(waiting, declaration, MakeTask())), "OFFERED") << what;
    EXPECT_EQ(Outcome(waiting, Declare(waiting, declared, MakeTask())), "=") << what;
  }
}

TEST(Failure, OfTheRollBackTooLeavesNothingInstalledAndIsNotRepeatedForThat) {
  Declaration declared = MakeDeclaration();
  declared.set_installed_digest(Digest('0'));
  ParticipantRecord applying = After(MakeRecord(Participant::STATE_JOINED), declared);
  applying.mutable_participant()->set_state(Participant::STATE_ROLLING_BACK);
  const ParticipantRecord failed = AfterReport(applying, Participant::STATE_ROLLBACK_FAILED);
  EXPECT_EQ(failed.participant().installed_digest(), "");
  EXPECT_EQ(Outcome(failed, Declare(failed, MakeDeclaration(), MakeTask())), "=");
  EXPECT_EQ(Outcome(failed, Declare(failed, declared, MakeTask())), "=");
  // What was installed before, published anew, is not there because it once was.
  TaskRecord newer = MakeTask(Task::STATE_OPEN, 2);
  newer.mutable_task()->set_payload_digest(Digest('0'));
  EXPECT_EQ(Outcome(failed, ApplyEvent(failed, Event::Kind::kOfferDue, newer)), "OFFERED");
}

TEST(Failure, OfAnEarlierVersionsRecordIsComparedWithWhatTheRecordHas) {
  ParticipantRecord failed = MakeRecord(Participant::STATE_ROLLED_BACK);
  failed.mutable_participant()->set_installed_digest(Digest('0'));
  Declaration declared = Again(failed);
  EXPECT_EQ(Outcome(failed, Declare(failed, declared, MakeTask())), "=");
  declared.set_setup_digest(Digest('s'));
  EXPECT_EQ(Outcome(failed, Declare(failed, declared, MakeTask())), "OFFERED");
}

TEST(Failure, ThatPassesIsNoneAndTheSetIsOfferedAgain) {
  const ParticipantRecord checking = MakeRecord(Participant::STATE_CHECKING);
  const ParticipantRecord stopped = AfterReport(checking, Participant::STATE_ROLLED_BACK, /*passing=*/true);
  EXPECT_TRUE(stopped.participant().hindered());
  EXPECT_EQ(Outcome(stopped, Declare(stopped, MakeDeclaration(), MakeTask())), "OFFERED");
  const ParticipantRecord failed = AfterReport(checking, Participant::STATE_ROLLED_BACK);
  EXPECT_FALSE(failed.participant().hindered());
  // A roll-back that is only begun is not yet hindered, and other states do not know the word.
  EXPECT_FALSE(AfterReport(checking, Participant::STATE_ROLLING_BACK, true).participant().hindered());
  EXPECT_FALSE(AfterReport(checking, Participant::STATE_ROLLBACK_FAILED, true).participant().hindered());
}

TEST(Retry, OfAPersonCountsOnceForEachRunOfTheClient) {
  Declaration retry = MakeDeclaration();
  retry.set_retry(true);
  retry.set_instance(std::string(16, 'a'));
  const ParticipantRecord offered = After(MakeRecord(Participant::STATE_ROLLED_BACK), retry);
  ASSERT_EQ(Name(offered.participant().state()), "OFFERED");
  ParticipantRecord failed = offered;
  failed.mutable_participant()->set_state(Participant::STATE_ROLLED_BACK);
  // The same run connects anew and says the same again: nobody has given the command again.
  EXPECT_EQ(Outcome(failed, Declare(failed, retry, MakeTask())), "=");
  retry.set_instance(std::string(16, 'b'));
  EXPECT_EQ(Outcome(failed, Declare(failed, retry, MakeTask())), "OFFERED");
}

TEST(Retry, OfAnOperatorWaitsForTheClientAndForThePause) {
  const ParticipantRecord retried =
      **ApplyEvent(MakeRecord(Participant::STATE_ROLLBACK_FAILED), Event::Kind::kRetry, MakeTask(Task::STATE_PAUSED));
  EXPECT_EQ(retried.participant().reason(), "retry");
  EXPECT_EQ(Outcome(retried, ApplyEvent(retried, Event::Kind::kOfferDue, MakeTask(Task::STATE_PAUSED))), "=");
  EXPECT_EQ(Outcome(retried, ApplyEvent(retried, Event::Kind::kOfferDue, MakeTask())), "OFFERED");
  EXPECT_EQ(Outcome(retried, ApplyEvent(retried, Event::Kind::kRetry, MakeTask())), "=");
}

TEST(Drift, LastsUntilTheClientHasWhatItShouldHave) {
  const ParticipantRecord confirmed = MakeRecord(Participant::STATE_CONFIRMED);
  EXPECT_FALSE(Declare(confirmed, Again(confirmed), MakeTask())->has_value());
  const ParticipantRecord drifted = After(confirmed, MakeDeclaration());
  EXPECT_EQ(Name(drifted.participant().state()), "OFFERED");
  EXPECT_TRUE(drifted.participant().drifted());
  EXPECT_EQ(drifted.participant().installed_digest(), "");
  // Put right by hand.
  const ParticipantRecord restored = After(drifted, Again(confirmed));
  EXPECT_EQ(Name(restored.participant().state()), "UP_TO_DATE");
  EXPECT_FALSE(restored.participant().drifted());
  // Put right by another attempt, which fails before it succeeds.
  ParticipantRecord checking = drifted;
  checking.mutable_participant()->set_state(Participant::STATE_CHECKING);
  EXPECT_TRUE(AfterReport(checking, Participant::STATE_ROLLED_BACK).participant().drifted());
  EXPECT_FALSE((**Confirm(checking, MakeTask(), Digest('1'))).participant().drifted());
}

TEST(Drift, IsNotSaidOfATargetThatCannotBeRead) {
  const ParticipantRecord unknown = After(MakeRecord(Participant::STATE_CONFIRMED), WithHindrance("target_mount"));
  EXPECT_EQ(Name(unknown.participant().state()), "INELIGIBLE");
  EXPECT_FALSE(unknown.participant().drifted());
  Declaration edited = WithHindrance("disk_full");
  edited.set_installed_digest(Digest('x'));
  EXPECT_TRUE(After(MakeRecord(Participant::STATE_CONFIRMED), edited).participant().drifted());
}

TEST(Drift, InATaskThatHasEndedIsShownAndTheStateStays) {
  const TaskRecord ended = MakeTask(Task::STATE_COMPLETED);
  const ParticipantRecord confirmed = MakeRecord(Participant::STATE_CONFIRMED);
  EXPECT_FALSE(Declare(confirmed, Again(confirmed), ended)->has_value());
  const ParticipantRecord drifted = After(confirmed, MakeDeclaration(), ended);
  EXPECT_EQ(Name(drifted.participant().state()), "CONFIRMED");
  EXPECT_TRUE(drifted.participant().drifted());
  EXPECT_EQ(drifted.participant().reason(), "drifted");
  const ParticipantRecord restored = After(drifted, Again(confirmed), ended);
  EXPECT_FALSE(restored.participant().drifted());
  EXPECT_EQ(restored.participant().reason(), "");
}

TEST(Drift, OfAnEarlierVersionsRecordIsToldByItsState) {
  ParticipantRecord old = MakeRecord(Participant::STATE_CONFIRMED);
  old.clear_held_revision();
  old.clear_held_digest();
  const ParticipantRecord drifted = After(old, MakeDeclaration());
  EXPECT_TRUE(drifted.participant().drifted());
  EXPECT_FALSE(After(drifted, Again(old)).participant().drifted());
}

TEST(Drift, ToAnotherTasksFilesIsNotUndoneUnlessAPersonWantsIt) {
  Declaration taken = MakeDeclaration();
  taken.set_installed_digest(Digest('x'));
  taken.set_taken_over("tasks/other has installed over a.conf of tasks/nginx-tls");
  const ParticipantRecord over = After(MakeRecord(Participant::STATE_CONFIRMED), taken);
  EXPECT_EQ(Name(over.participant().state()), "INELIGIBLE");
  EXPECT_EQ(over.participant().reason(), "taken_over");
  EXPECT_EQ(over.participant().detail(), taken.taken_over());
  EXPECT_TRUE(over.participant().drifted());
  EXPECT_FALSE(over.participant().hindered());
  EXPECT_FALSE(Declare(over, taken, MakeTask())->has_value());
  // After a hindrance as well.
  Declaration hindered = taken;
  hindered.mutable_hindrance()->set_code("clock");
  EXPECT_EQ(After(After(over, hindered), taken).participant().reason(), "taken_over");
  // A new revision is offered, and so is this one to a person that asks for it.
  EXPECT_EQ(Outcome(over, Declare(over, taken, MakeTask(Task::STATE_OPEN, 2))), "OFFERED");
  const ParticipantRecord retried = **ApplyEvent(over, Event::Kind::kRetry, MakeTask());
  EXPECT_EQ(Outcome(retried, Declare(retried, taken, MakeTask())), "OFFERED");
  Declaration again = taken;
  again.set_retry(true);
  EXPECT_EQ(Outcome(over, Declare(over, again, MakeTask())), "OFFERED");
}

TEST(Drift, APersonIsHeardThoughTheClientJoinedUnderAnEarlierRevision) {
  Declaration taken = MakeDeclaration();
  taken.set_taken_over("tasks/other has installed over a.conf of tasks/nginx-tls");
  const ParticipantRecord joined = MakeRecord(Participant::STATE_JOINED);
  const TaskRecord newer = MakeTask(Task::STATE_OPEN, 2);
  EXPECT_EQ(Outcome(joined, Declare(joined, taken, newer)), "INELIGIBLE");
  taken.set_retry(true);
  EXPECT_EQ(Outcome(joined, Declare(joined, taken, newer)), "OFFERED");
}

// A revision that brings back what was installed before an earlier one is not believed to be there because of that.
TEST(Installed, IsWhatWasConfirmedLastNotWhatWasDeclaredFirst) {
  Declaration first = MakeDeclaration();
  first.set_installed_digest(Digest('0'));
  ParticipantRecord checking = After(MakeRecord(Participant::STATE_JOINED), first);
  checking.mutable_participant()->set_state(Participant::STATE_CHECKING);
  const ParticipantRecord confirmed = **Confirm(checking, MakeTask(), Digest('1'));
  TaskRecord back = MakeTask(Task::STATE_OPEN, 2);
  back.mutable_task()->set_payload_digest(Digest('0'));
  EXPECT_EQ(Outcome(confirmed, ApplyEvent(confirmed, Event::Kind::kOfferDue, back)), "OFFERED");
}

TEST(Duplicate, IsARunThatComesBackAfterAnother) {
  Declaration a = MakeDeclaration(), b = MakeDeclaration();
  a.set_instance(std::string(16, 'a'));
  b.set_instance(std::string(16, 'b'));
  const ParticipantRecord one = Declared(a, MakeTask());
  EXPECT_FALSE(Declare(one, a, MakeTask())->has_value());
  // Started anew, or a client of an earlier version, which names no run: nothing.
  const ParticipantRecord two = After(After(one, MakeDeclaration()), b);
  EXPECT_FALSE(two.participant().has_duplicate_time());
  const ParticipantRecord twice = After(two, a, MakeTask(), kNow + absl::Minutes(1));
  EXPECT_EQ(ToTime(twice.participant().duplicate_time()), kNow + absl::Minutes(1));
}

TEST(Rejoined, BeginsAnewWithAVersionThatNothingSentBeforeFits) {
  ParticipantRecord former = MakeRecord(Participant::STATE_CONFIRMED);
  former.mutable_participant()->set_confirmed_revision(1);
  const ParticipantRecord record = Rejoined(former, "web-1", MakeTask(), /*connected=*/false, kNow);
  EXPECT_EQ(Name(record.participant().state()), "JOINED");
  EXPECT_EQ(record.participant().version(), former.participant().version() + 1);
  EXPECT_EQ(record.participant().confirmed_revision(), 0);
  EXPECT_FALSE(record.participant().has_duplicate_time());
  EXPECT_TRUE(Rejoined(former, "web-1", MakeTask(), true, kNow).participant().has_duplicate_time());
}

TEST(TimedOut, IsOfferedAgainWhenTheClientIsBackAndTheTaskIsOpen) {
  const ParticipantRecord checking = MakeRecord(Participant::STATE_CHECKING);
  const ParticipantRecord out = **ApplyEvent(checking, Event::Kind::kLeaseRanOut, MakeTask());
  const ParticipantRecord offered = After(out, MakeDeclaration());
  EXPECT_EQ(Name(offered.participant().state()), "OFFERED");
  EXPECT_EQ(offered.participant().attempt(), 2);
  // What came from the attempt that is over does not count for the new one.
  EXPECT_FALSE(Send(offered, Report(checking, Participant::STATE_ROLLED_BACK), MakeTask())->has_value());
}

}  // namespace
}  // namespace parley::taskd
