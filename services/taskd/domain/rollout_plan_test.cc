#include "services/taskd/domain/rollout_plan.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/proto_time.h"

namespace parley::taskd {
namespace {

using task::v1::Rollout;

Rollout Good() {
  Rollout rollout;
  rollout.add_waves()->set_count(1);
  rollout.add_waves()->set_percent(10);
  rollout.add_waves()->set_percent(100);
  return rollout;
}

TEST(RolloutPlan, FillsInItsDefaults) {
  const auto complete = CompleteRollout(Good(), false);
  ASSERT_TRUE(complete.ok()) << complete.status();
  EXPECT_EQ(complete->gate().min_success_percent(), 100);
  EXPECT_TRUE(complete->gate().has_max_failures());
  EXPECT_EQ(complete->gate().max_failures(), 0);
  EXPECT_EQ(complete->on_failure(), Rollout::ON_FAILURE_HALT);
  Rollout given = Good();
  given.mutable_gate()->set_max_failure_percent(5);
  EXPECT_FALSE(CompleteRollout(given, false)->gate().has_max_failures());
}

TEST(RolloutPlan, RefusesWhatLeavesSomebodyOutOrNobodyIn) {
  const std::vector<std::pair<std::string, std::function<void(Rollout*)>>> broken = {
      {"1 to 20 waves", [](Rollout* rollout) { rollout->clear_waves(); }},
      {"1 to 20 waves",
       [](Rollout* rollout) {
         for (int i = 0; i < 18; ++i) rollout->add_waves()->set_percent(100);
       }},
      {"says nothing of who", [](Rollout* rollout) { rollout->mutable_waves(0)->clear_clients(); }},
      {"at least 1", [](Rollout* rollout) { rollout->mutable_waves(0)->set_count(0); }},
      {"at least 1", [](Rollout* rollout) { rollout->mutable_waves(0)->set_count(-3); }},
      {"at most 100 percent", [](Rollout* rollout) { rollout->mutable_waves(1)->set_percent(101); }},
      {"would add nobody", [](Rollout* rollout) { rollout->mutable_waves(0)->set_percent(10); }},
      {"would add nobody", [](Rollout* rollout) { rollout->mutable_waves(1)->set_count(1); }},
      {"must be all clients", [](Rollout* rollout) { rollout->mutable_waves(2)->set_percent(50); }},
      {"all clients would add nobody",
       [](Rollout* rollout) {
         rollout->mutable_waves(1)->set_count(5);
         rollout->mutable_waves(0)->set_percent(100);
         rollout->mutable_waves(2)->set_count(9);
         rollout->add_waves()->set_percent(100);
       }},
      {"is for devices",
       [](Rollout* rollout) { (*rollout->mutable_waves(0)->mutable_labels()->mutable_labels())["a"] = "b"; }},
      {"1 to 1000 names", [](Rollout* rollout) { rollout->mutable_waves(0)->mutable_names(); }},
      {"0-9, '.', '_'", [](Rollout* rollout) { rollout->mutable_waves(0)->mutable_names()->add_names("Web 1"); }},
      {"web-1 twice",
       [](Rollout* rollout) {
         rollout->mutable_waves(0)->mutable_names()->add_names("web-1");
         rollout->mutable_waves(1)->mutable_names()->add_names("web-1");
       }},
      {"from 1 to 100 percent", [](Rollout* rollout) { rollout->mutable_gate()->set_min_success_percent(101); }},
      {"from 1 to 100 percent", [](Rollout* rollout) { rollout->mutable_gate()->set_min_success_percent(-1); }},
      {"can not be below 0", [](Rollout* rollout) { rollout->mutable_gate()->set_max_failures(-1); }},
      {"from 0 to 100", [](Rollout* rollout) { rollout->mutable_gate()->set_max_failure_percent(101); }},
      {"at most 30 days",
       [](Rollout* rollout) { *rollout->mutable_gate()->mutable_soak() = ToProto(absl::Hours(24 * 31)); }},
      {"at most 30 days",
       [](Rollout* rollout) { *rollout->mutable_gate()->mutable_soak() = ToProto(-absl::Seconds(1)); }},
      {"at most 20 approvals", [](Rollout* rollout) { rollout->mutable_gate()->set_approvals(21); }},
      {"without approvals", [](Rollout* rollout) { rollout->mutable_gate()->set_author_may_approve(true); }},
      {"none of ON_FAILURE_HALT",
       [](Rollout* rollout) { rollout->set_on_failure(static_cast<Rollout::OnFailure>(9)); }},
  };
  for (const auto& [sentence, spoil] : broken) {
    Rollout rollout = Good();
    spoil(&rollout);
    const auto complete = CompleteRollout(rollout, /*takes_devices=*/false);
    ASSERT_FALSE(complete.ok()) << sentence;
    EXPECT_EQ(complete.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(complete.status().message().find(sentence), std::string::npos) << complete.status();
  }
}

}  // namespace
}  // namespace parley::taskd
