#include "lib/base/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"

namespace parley {
namespace {

class FileLockTest : public testing::Test {
 protected:
  ~FileLockTest() override { unlink(path_.c_str()); }

  Fd Open() const { return Fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC)); }

  std::string path_ = testing::TempDir() + "/lock.XXXXXX";
  Fd first_{mkostemp(path_.data(), O_CLOEXEC)}, second_ = Open(), third_ = Open();
};

TEST_F(FileLockTest, AnExclusiveOneHasNoOtherBesideItUntilItsDescriptorCloses) {
  ASSERT_TRUE(TryLockFile(first_));
  EXPECT_FALSE(TryLockFile(second_));
  EXPECT_EQ(errno, EWOULDBLOCK);
  EXPECT_FALSE(TryLockFile(second_, LockKind::kShared));
  first_ = Fd();
  EXPECT_TRUE(LockFile(second_));
}

TEST_F(FileLockTest, SharedOnesExcludeOnlyTheExclusive) {
  ASSERT_TRUE(TryLockFile(first_, LockKind::kShared));
  EXPECT_TRUE(LockFile(second_, LockKind::kShared));
  EXPECT_FALSE(TryLockFile(third_));
}

TEST_F(FileLockTest, NoDescriptorIsNoLock) {
  EXPECT_FALSE(LockFile(Fd()));
  EXPECT_EQ(errno, EBADF);
}

}  // namespace
}  // namespace parley
