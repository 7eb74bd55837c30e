#include "services/taskd/domain/task.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/task/states.h"

namespace parley::taskd {
namespace {

using task::v1::Counts;
using task::v1::LabelValues;
using task::v1::Task;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
const absl::Time kEnd = kNow + absl::Hours(1);

TaskRecord MakeTask(Task::State state) {
  TaskRecord record;
  record.mutable_task()->set_name("tasks/abc");
  record.mutable_task()->set_state(state);
  *record.mutable_task()->mutable_start_time() = ToProto(kNow);
  *record.mutable_task()->mutable_expire_time() = ToProto(kEnd);
  return record;
}

Counts MakeCounts(int joined, int confirmed, int rolled_back = 0, int timed_out = 0, int hindered = 0) {
  Counts counts;
  counts.set_timed_out(timed_out);
  counts.set_hindered(hindered);
  counts.set_joined(joined);
  counts.set_confirmed(confirmed);
  counts.set_rolled_back(rolled_back);
  return counts;
}

std::optional<TaskRecord> Due(const TaskRecord& task, const Counts& counts, absl::Time now, int borne = 0) {
  return taskd::Due(task, Tally{counts, borne}, now);
}

TEST(Task, OpensAtItsStart) {
  const TaskRecord task = MakeTask(Task::STATE_SCHEDULED);
  EXPECT_FALSE(Due(task, Counts(), kNow - absl::Seconds(1)).has_value());
  EXPECT_EQ(Due(task, Counts(), kNow)->task().state(), Task::STATE_OPEN);
}

TEST(Task, EndsWithItsTime) {
  const TaskRecord task = MakeTask(Task::STATE_OPEN);
  EXPECT_FALSE(Due(task, MakeCounts(1, 1), kEnd - absl::Seconds(1)).has_value());
  EXPECT_EQ(Due(task, Counts(), kEnd)->task().state(), Task::STATE_EXPIRED);
  EXPECT_EQ(Due(task, MakeCounts(2, 2), kEnd)->task().state(), Task::STATE_COMPLETED);
  EXPECT_EQ(Due(task, MakeCounts(2, 1), kEnd)->task().state(), Task::STATE_COMPLETED_WITH_ERRORS);
  EXPECT_EQ(Due(task, MakeCounts(2, 1, 1), kEnd)->task().state(), Task::STATE_COMPLETED_WITH_ERRORS);
  EXPECT_EQ(Due(task, MakeCounts(2, 1, 0, 1), kEnd)->task().state(), Task::STATE_COMPLETED_WITH_ERRORS);
  EXPECT_EQ(Due(task, MakeCounts(2, 1, 0, 0, 1), kEnd)->task().state(), Task::STATE_COMPLETED_WITH_ERRORS);
  EXPECT_TRUE(Due(task, MakeCounts(2, 2), kEnd)->ended_by_time());
  EXPECT_FALSE(Due(MakeTask(Task::STATE_ABORTED), Counts(), kEnd).has_value());
}

TEST(Task, CompletesWithItsLastExpectedClient) {
  TaskRecord task = MakeTask(Task::STATE_OPEN);
  task.mutable_task()->set_expected_clients(2);
  EXPECT_FALSE(Due(task, MakeCounts(3, 1), kNow).has_value());
  EXPECT_EQ(Due(task, MakeCounts(3, 2), kNow)->task().state(), Task::STATE_COMPLETED);
  EXPECT_EQ(Due(task, MakeCounts(3, 1, 1), kNow)->task().state(), Task::STATE_COMPLETED_WITH_ERRORS);
  // A client that is away, or waits for a hindrance to pass, may still come.
  EXPECT_FALSE(Due(task, MakeCounts(3, 1, 0, 1, 1), kNow).has_value());
  EXPECT_EQ(Due(task, MakeCounts(3, 2, 0, 1), kNow)->task().state(), Task::STATE_COMPLETED_WITH_ERRORS);
}

TEST(Task, HaltsAfterTooManyFailures) {
  TaskRecord task = MakeTask(Task::STATE_PAUSED);
  task.mutable_task()->set_max_failures(1);
  EXPECT_FALSE(Due(task, MakeCounts(3, 0, 1), kNow).has_value());
  EXPECT_EQ(Due(task, MakeCounts(3, 0, 2), kNow)->task().state(), Task::STATE_HALTED);
  EXPECT_FALSE(Due(task, MakeCounts(9, 0, 1, 5, 3), kNow).has_value());
}

TEST(Task, BearsNoFailureWhereNoneIsBorneAndEachWithoutALimit) {
  TaskRecord task = MakeTask(Task::STATE_OPEN);
  EXPECT_FALSE(Due(task, MakeCounts(9, 0, 9), kNow).has_value());
  task.mutable_task()->set_max_failures(0);
  EXPECT_FALSE(Due(task, MakeCounts(9, 0, 0), kNow).has_value());
  EXPECT_EQ(Due(task, MakeCounts(9, 0, 1), kNow)->task().state(), Task::STATE_HALTED);
}

TEST(Task, ThatIsHaltedEndsOnlyWithItsTimeOrByAPerson) {
  TaskRecord task = MakeTask(Task::STATE_OPEN);
  task.mutable_task()->set_max_failures(0);
  task.mutable_task()->set_expected_clients(1);
  task = *Due(task, MakeCounts(1, 0, 1), kNow);
  ASSERT_EQ(task.task().state(), Task::STATE_HALTED);
  EXPECT_EQ(task.end_reason(), "halted after 1 failure, over the limit of 0");
  EXPECT_FALSE(task.has_end_time());
  EXPECT_FALSE(task::HasEnded(task.task().state()));
  EXPECT_FALSE(Due(task, MakeCounts(1, 0, 1), kNow).has_value());
  EXPECT_EQ(NextDue(task), kEnd);
  EXPECT_EQ(Due(task, MakeCounts(1, 0, 1), kEnd)->task().state(), Task::STATE_COMPLETED_WITH_ERRORS);
  EXPECT_TRUE(*Abort(&task, "enough", kNow));
  EXPECT_EQ(task.end_reason(), "enough");
}

TEST(Task, BearsTheFailuresWithWhichItWasResumed) {
  TaskRecord task = MakeTask(Task::STATE_OPEN);
  task.mutable_task()->set_max_failures(1);
  task = *Due(task, MakeCounts(9, 0, 2), kNow);
  EXPECT_TRUE(*Resume(&task, kNow));
  EXPECT_EQ(task.task().state(), Task::STATE_OPEN);
  EXPECT_EQ(task.end_reason(), "");
  EXPECT_FALSE(Due(task, MakeCounts(9, 0, 3), kNow, 2).has_value());
  task = *Due(task, MakeCounts(9, 0, 4), kNow, 2);
  EXPECT_EQ(task.task().state(), Task::STATE_HALTED);
  EXPECT_EQ(task.end_reason(), "halted after 2 failures since it was resumed, over the limit of 1");
}

TEST(Task, GoesOnWithARevisionAfterItHaltedUnlessItIsPaused) {
  TaskRecord task = MakeTask(Task::STATE_OPEN);
  task.mutable_task()->set_max_failures(0);
  const TaskRecord halted = *Due(task, MakeCounts(9, 0, 1), kNow);
  task = halted;
  BeginRevision(&task, kNow);
  EXPECT_EQ(task.task().state(), Task::STATE_OPEN);
  EXPECT_EQ(task.end_reason(), "");
  // Before it was halted, or since.
  EXPECT_TRUE(*Pause(&task));
  task = *Due(task, MakeCounts(9, 0, 1), kNow);
  BeginRevision(&task, kNow);
  EXPECT_EQ(task.task().state(), Task::STATE_PAUSED);
  task = halted;
  EXPECT_TRUE(*Pause(&task));
  EXPECT_FALSE(*Pause(&task));
  EXPECT_EQ(task.task().state(), Task::STATE_HALTED);
  BeginRevision(&task, kNow);
  EXPECT_EQ(task.task().state(), Task::STATE_PAUSED);
  EXPECT_TRUE(*Resume(&task, kNow));
  EXPECT_EQ(task.task().state(), Task::STATE_OPEN);
  // A task of an earlier version says by its state alone that it is paused.
  task = MakeTask(Task::STATE_PAUSED);
  EXPECT_FALSE(*Pause(&task));
}

TEST(Task, IsNotCompletedByARefusal) {
  TaskRecord task = MakeTask(Task::STATE_OPEN);
  task.mutable_task()->set_expected_clients(2);
  Counts counts = MakeCounts(2, 1);
  counts.set_declined(1);
  EXPECT_EQ(Due(task, counts, kNow)->task().state(), Task::STATE_COMPLETED_WITH_ERRORS);
  counts.set_declined(0);
  counts.set_ineligible(1);
  EXPECT_EQ(Due(task, counts, kNow)->task().state(), Task::STATE_COMPLETED_WITH_ERRORS);
  counts.set_ineligible(0);
  counts.set_canceled(1);
  EXPECT_EQ(Due(task, counts, kNow)->task().state(), Task::STATE_COMPLETED);
}

TEST(Task, PausesResumesAndAbortsOnce) {
  TaskRecord task = MakeTask(Task::STATE_OPEN);
  EXPECT_TRUE(*Pause(&task));
  EXPECT_FALSE(*Pause(&task));
  EXPECT_TRUE(*Resume(&task, kNow));
  EXPECT_FALSE(*Resume(&task, kNow));
  EXPECT_EQ(task.task().state(), Task::STATE_OPEN);
  EXPECT_TRUE(*Abort(&task, "wrong file", kNow));
  EXPECT_FALSE(*Abort(&task, "again", kNow));
  EXPECT_EQ(task.end_reason(), "wrong file");
  EXPECT_EQ(Reason(Pause(&task).status()), "TASK_ENDED");
  EXPECT_EQ(Reason(Resume(&task, kNow).status()), "TASK_ENDED");
}

TEST(Task, ResumedBeforeItsStartIsScheduledAgain) {
  TaskRecord task = MakeTask(Task::STATE_SCHEDULED);
  EXPECT_TRUE(*Pause(&task));
  EXPECT_TRUE(*Resume(&task, kNow - absl::Hours(1)));
  EXPECT_EQ(task.task().state(), Task::STATE_SCHEDULED);
}

}  // namespace
}  // namespace parley::taskd
