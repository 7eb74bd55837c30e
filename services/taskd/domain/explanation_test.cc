#include "services/taskd/domain/explanation.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "services/taskd/domain/participant_testing.h"
#include "services/taskd/domain/reasons.h"
#include "services/taskd/domain/rollout.h"

namespace parley::taskd {
namespace {

std::string Told(const ParticipantRecord& client, const TaskRecord& task = MakeTask(), const Labels* labels = nullptr) {
  return absl::StrJoin(Explain(client, task, {}, labels, kNow), "\n");
}

TEST(Explanation, SaysSomethingOfEveryStateInEveryTask) {
  for (const ParticipantState state : AllStates()) {
    const bool lost = state == Participant::STATE_LOST;
    ParticipantRecord client = MakeRecord(state, lost ? Participant::STATE_APPLYING : Participant::STATE_UNSPECIFIED);
    client.mutable_participant()->set_state(state);
    for (int of_task = 1; of_task <= Task::State_MAX; ++of_task) {
      for (const int64_t revision : {1, 2}) {
        const auto sentences =
            Explain(client, MakeTask(static_cast<Task::State>(of_task), revision), {}, nullptr, kNow);
        ASSERT_FALSE(sentences.empty()) << Name(state);
        for (const std::string& sentence : sentences) {
          EXPECT_FALSE(sentence.empty());
          EXPECT_NE(sentence.back(), '.') << sentence;
        }
      }
    }
  }
}

TEST(Explanation, NamesTheWaveThatAClientWaitsFor) {
  TaskRecord task = MakeTask();
  auto& rollout = *task.mutable_task()->mutable_rollout();
  rollout.add_waves()->set_count(1);
  rollout.add_waves()->set_percent(100);
  rollout.mutable_gate()->set_min_success_percent(100);
  task.mutable_rollout()->add_open_waves();
  ParticipantRecord client = MakeRecord(Participant::STATE_QUEUED);
  client.mutable_participant()->set_reason(std::string(kReasonNextWave));
  client.mutable_participant()->set_connected(true);
  const RolloutTally tally{.candidates = 9, .waves = {{.clients = 1}}};
  EXPECT_EQ(absl::StrJoin(Explain(client, task, tally, nullptr, kNow), "\n"),
            "web-1 waits for revision 1: the client is in a wave of the roll-out that is yet to open, since 2023-11-14 "
            "22:13 UTC\n"
            "1 of 2 waves are open, and it is in none of them: 0 of 1 client of the open waves have the revision; the "
            "gate asks for 100 %\n"
            "the next wave opens at once by: parley task advance nginx-tls");
  rollout.mutable_gate()->set_approvals(1);
  EXPECT_TRUE(absl::StrContains(Told(client, task), "the next wave is approved by: parley task advance nginx-tls"));
}

TEST(Explanation, SaysWhatAnOperatorCanDo) {
  ParticipantRecord failed = MakeRecord(Participant::STATE_ROLLED_BACK);
  failed.mutable_participant()->set_detail("nginx: unknown directive");
  EXPECT_TRUE(absl::StrContains(Told(failed), "has rolled revision 1 back: nginx: unknown directive"));
  EXPECT_TRUE(absl::StrContains(Told(failed), "parley task retry nginx-tls web-1"));
  EXPECT_TRUE(absl::StrContains(Told(failed, MakeTask(Task::STATE_HALTED)), "parley task resume nginx-tls"));
  EXPECT_TRUE(absl::StrContains(Told(failed, MakeTask(Task::STATE_ABORTED)), "nothing is offered any more"));
  failed.mutable_participant()->set_hindered(true);
  EXPECT_FALSE(absl::StrContains(Told(failed), "task retry"));
  ParticipantRecord away = MakeRecord(Participant::STATE_CONFIRMED);
  *away.mutable_participant()->mutable_disconnect_time() = ToProto(kNow - absl::Hours(1));
  EXPECT_TRUE(absl::StrContains(Told(away), "it is not connected since 2023-11-14 21:13 UTC"));
  ParticipantRecord revoked = MakeRecord(Participant::STATE_CANCELED);
  *revoked.mutable_participant()->mutable_revoke_time() = ToProto(kNow);
  EXPECT_TRUE(absl::StrContains(Told(revoked), "was revoked at"));
  ParticipantRecord unselected = MakeRecord(Participant::STATE_INELIGIBLE);
  unselected.set_own_credential(true);
  unselected.mutable_participant()->set_reason(std::string(kReasonNotSelected));
  Labels labels;
  labels["role"] = "db";
  EXPECT_TRUE(absl::StrContains(Told(unselected, MakeTask(), &labels), "its labels are role=db"));
}

}  // namespace
}  // namespace parley::taskd
