#include "clients/cli/rollout_view.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/rollout_text.h"
#include "lib/base/proto_time.h"

namespace parley::cli {
namespace {

using task::v1::Participant;
using task::v1::Task;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

Task MakeTask() {
  Task task;
  task.set_name("tasks/web-7k3q");
  task.set_revision(4);
  task.set_state(Task::STATE_OPEN);
  for (const char* const wave : {"1", "10%", "all"}) *task.mutable_rollout()->add_waves() = *ParseWave(wave);
  task.mutable_counts()->set_joined(200);
  task.mutable_counts()->set_confirmed(12);
  task.mutable_counts()->set_waiting(188);
  task.mutable_rollout_status()->set_detail("12 of 20 clients of the open waves have the revision");
  for (const auto& [clients, succeeded] : {std::pair{1, 1}, std::pair{20, 12}}) {
    auto& wave = *task.mutable_rollout_status()->add_open_waves();
    *wave.mutable_open_time() = ToProto(kNow);
    wave.set_clients(clients);
    wave.set_succeeded(succeeded);
  }
  return task;
}

TEST(RolloutPicture, ShowsEachWaveAndWhatTheNextOneWaitsFor) {
  EXPECT_EQ(absl::StrJoin(RolloutPicture(MakeTask(), 200, kNow), "\n"),
            "web-7k3q r4  open, 2 of 3 waves open\n"
            "✔ 1    ████████████████████  1 of 1 have it  since 22:13 UTC\n"
            "· 10%  ████████████░░░░░░░░  12 of 20 have it  since 22:13 UTC\n"
            "· all  not open yet\n"
            "next: 12 of 20 clients of the open waves have the revision\n"
            "200 clients: 12 confirmed, 188 waiting");
}

TEST(RolloutPicture, SaysWhoFailedWhoOpenedAndWhyItStands) {
  Task task = MakeTask();
  task.set_state(Task::STATE_HALTED);
  task.set_state_reason("1 of 20 clients of the open waves failed, over the limit of 0");
  task.mutable_rollout_status()->mutable_open_waves(1)->set_failed(1);
  task.mutable_rollout_status()->mutable_open_waves(1)->set_opener("kim");
  const std::string picture = absl::StrJoin(RolloutPicture(task, 200, kNow), "\n");
  EXPECT_NE(picture.find("why: 1 of 20 clients"), std::string::npos) << picture;
  EXPECT_NE(picture.find("✘ 10%  ████████████░░░░░░░░  12 of 20 have it, 1 failed  since 22:13 UTC, opened by kim"),
            std::string::npos)
      << picture;
}

TEST(RolloutPicture, FitsItsTerminal) {
  for (const std::string& line : RolloutPicture(MakeTask(), 30, kNow)) EXPECT_LE(line.size(), 3u * 30u) << line;
}

TEST(RolloutPicture, OfATaskWithoutWavesIsOneBar) {
  Task task = MakeTask();
  task.clear_rollout();
  task.clear_rollout_status();
  EXPECT_EQ(RolloutPicture(task, 200, kNow)[1], "█░░░░░░░░░░░░░░░░░░░  12 of 200 have it");
}

TEST(Causes, AreGroupedTheMostFrequentFirstWithAnExample) {
  std::vector<Participant> clients;
  const auto add = [&](Participant::State state, const std::string& reason, const std::string& detail) {
    Participant& client = clients.emplace_back();
    client.set_name(absl::StrCat("tasks/web/participants/web-", clients.size()));
    client.set_state(state);
    client.set_reason(reason);
    client.set_detail(detail);
  };
  add(Participant::STATE_DECLINED, "policy", "not today");
  add(Participant::STATE_ROLLED_BACK, "check_failed", "nginx: unknown directive");
  add(Participant::STATE_ROLLED_BACK, "check_failed", "nginx: another one");
  add(Participant::STATE_CONFIRMED, "", "");
  EXPECT_EQ(absl::StrJoin(CausesText(clients, 200, kNow), "\n"),
            "2 rolled back (check_failed), for example web-2: nginx: unknown directive\n"
            "1 declined (policy), for example web-1: not today");
}

}  // namespace
}  // namespace parley::cli
