#include "lib/keyd_client/device_labels.h"

#include <gtest/gtest.h>

#include <vector>

namespace parley::keyd_client {
namespace {

std::shared_ptr<const keys::Labels> Role(const std::string& role) {
  auto labels = std::make_shared<keys::Labels>();
  (*labels)["role"] = role;
  return labels;
}

class DeviceLabelsTest : public testing::Test {
 protected:
  DeviceLabelsTest() {
    labels_.Observe([this](const std::string& device) { told_.push_back(device.empty() ? "any" : device); });
  }
  // What is shown of a device; "?" while nothing was heard.
  std::string Shown(const std::string& device) const {
    const auto found = labels_.Find(device);
    return found == nullptr ? "?" : keys::ShowLabels(*found);
  }
  // Returns the devices that the observer was told of since the last call.
  std::vector<std::string> Told() { return std::exchange(told_, {}); }

  DeviceLabels labels_;
  std::vector<std::string> told_;
};

TEST_F(DeviceLabelsTest, AreUnknownUntilTheWholeStateIsThere) {
  EXPECT_EQ(Shown("web-1"), "?");
  labels_.Set("web-1", *Role("web"));
  EXPECT_EQ(Shown("web-1"), "?");
  labels_.Replace({});
  EXPECT_EQ(Shown("web-1"), "");
  EXPECT_EQ(Told(), std::vector<std::string>{"any"}) << "also when there are none, as nobody has to wait any more";
}

TEST_F(DeviceLabelsTest, TellOnlyWhatChanges) {
  labels_.Replace({{"web-1", Role("web")}, {"db-1", Role("db")}});
  Told();
  labels_.Set("web-1", *Role("web"));
  labels_.Set("web-2", keys::Labels());
  labels_.Replace({{"web-1", Role("web")}, {"db-1", Role("db")}});
  EXPECT_EQ(Told(), std::vector<std::string>());
  labels_.Set("web-1", *Role("db"));
  labels_.Set("db-1", keys::Labels());
  EXPECT_EQ(Told(), (std::vector<std::string>{"web-1", "db-1"}));
  EXPECT_EQ(Shown("web-1") + Shown("db-1"), "role=db");
}

// What was removed while keyd was away is in no message: that it is missing says so.
TEST_F(DeviceLabelsTest, APresentStateTakesThePlaceOfAllThatWasKnown) {
  labels_.Replace({{"web-1", Role("web")}});
  labels_.Replace({{"db-1", Role("db")}});
  EXPECT_EQ(Shown("web-1"), "");
  EXPECT_EQ(Shown("db-1"), "role=db");
  EXPECT_EQ(Told(), (std::vector<std::string>{"any", "any"}));
  labels_.StopObserving();
  labels_.Replace({});
  EXPECT_EQ(Told(), std::vector<std::string>());
}

}  // namespace
}  // namespace parley::keyd_client
