// What a client hears of its labels, and what it says of itself.
#include <string>

#include "clients/agent/session_testing.h"
#include "lib/base/error.h"

namespace parley::agent {
namespace {

class LabelsTest : public SessionTest {};

TEST_F(LabelsTest, CommandsSeeThemAndFacts) {
  taskd_.Publish(new_);
  JoinOptions options = Options();
  taskd_.faults.labels = {{"site", "berlin"}};
  options.facts = {{"nginx-version", "1.22"}};
  options.hooks.check = "test \"$PARLEY_LABEL_SITE $PARLEY_FACT_NGINX_VERSION\" = 'berlin 1.22'";
  const Outcome outcome = RunToEnd(std::move(options));
  EXPECT_TRUE(outcome.ok()) << outcome.detail;
}

TEST_F(LabelsTest, AreNothingThatAClientNames) {
  taskd_.Publish(new_);
  JoinOptions options = Options();
  options.facts = {{"site", "berlin"}};
  ASSERT_EQ(Join(std::move(options), &log_).status(), absl::OkStatus());
  const task::v1::Declaration declared = taskd_.declarations().back();
  EXPECT_TRUE(declared.labels().empty());
  EXPECT_EQ(declared.facts().at("site"), "berlin");
  EXPECT_TRUE(declared.facts().contains("os")) << "which it fills in";
}

TEST_F(LabelsTest, ThatNoDeviceCanHaveEndTheConversation) {
  taskd_.Publish(new_);
  taskd_.faults.labels = {{"site", std::string(257, 'x')}};
  StartFollowing(Options());
  log_.Await("disconnected LABELS_MALFORMED");
  taskd_.Stop();
  taskd_.faults.labels.clear();
  taskd_.Start();
  log_.Await("confirmed 1");
}

}  // namespace
}  // namespace parley::agent
