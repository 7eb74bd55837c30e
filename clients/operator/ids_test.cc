#include "clients/operator/ids.h"

#include <gtest/gtest.h>

namespace parley::ops {
namespace {

TEST(TaskIds, GrowFromNames) {
  EXPECT_TRUE(IsTaskId(NewTaskId("a")));
  EXPECT_TRUE(IsTaskId(NewTaskId(std::string(kMaxTaskNameBytes, 'a'))));
  for (const char* bad : {"", "ab", "a-b-", "7up", "a_bc"}) EXPECT_FALSE(IsTaskId(bad)) << bad;
}

}  // namespace
}  // namespace parley::ops
