#include "lib/base/memory.h"

#include <sys/stat.h>

#include "gtest/gtest.h"
#include "lib/base/file.h"

namespace parley {
namespace {

class MemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    for (const char* name : {"/memory", "/group"}) ASSERT_EQ(mkdir((folder_ + name).c_str(), 0700), 0);
  }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(folder_ + name, text, 0600).ok());
  }
  int64_t Usable() { return UsableMemory(folder_, folder_ + "/self"); }

  std::string folder_ = testing::TempDir() + "/memory_test.XXXXXX";
};

TEST_F(MemoryTest, IsTheMachinesWithoutALimit) {
  const int64_t all = Usable();
  EXPECT_GT(all, 1 << 20);
  Write("/memory.max", "max\n");
  Write("/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Usable(), all);
}

TEST_F(MemoryTest, IsTheSmallestLimit) {
  Write("/memory.max", "3000000\n");
  EXPECT_EQ(Usable(), 3'000'000);
  Write("/self", "12:cpu:/other\n0::/group\n");
  Write("/group/memory.max", "2000000\n");
  EXPECT_EQ(Usable(), 2'000'000);
  Write("/memory/memory.limit_in_bytes", "1000000\n");
  EXPECT_EQ(Usable(), 1'000'000);
}

}  // namespace
}  // namespace parley
