#include "lib/device/device_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "absl/strings/match.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/device/testing.h"

namespace parley::device {
namespace {

Secret Password() { return Secret::CopyOf("correct horse battery"); }

class DeviceFileTest : public testing::Test {
 protected:
  DeviceFileTest() {
    std::string folder = testing::TempDir() + "/device-XXXXXX";
    path_ = std::string(mkdtemp(folder.data())) + "/device";
  }
  DeviceFile Make() { return *DeviceFile::Create(path_, Password(), ExampleContents()); }

  std::string path_;
};

absl::Status SetLabel(Contents* contents, absl::string_view label) {
  contents->device_label = std::string(label);
  return absl::OkStatus();
}

TEST_F(DeviceFileTest, OpensWithItsPasswordAlone) {
  Make();
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto opened = DeviceFile::Open(path_, Password());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->contents().user_name, "alice");
  const absl::Status wrong = DeviceFile::Open(path_, Secret::CopyOf("correct horse batterY")).status();
  EXPECT_EQ(Reason(wrong), "DEVICE_FILE_PASSWORD");
  EXPECT_TRUE(absl::StrContains(wrong.message(), path_)) << wrong;
}

TEST_F(DeviceFileTest, IsNotMadeOverAnother) {
  Make();
  EXPECT_EQ(Reason(DeviceFile::Create(path_, Password(), ExampleContents()).status()), "DEVICE_FILE_EXISTS");
}

TEST_F(DeviceFileTest, WantsAPasswordThatIsOne) {
  EXPECT_EQ(Reason(DeviceFile::Create(path_, Secret::CopyOf("1234567"), ExampleContents()).status()),
            "DEVICE_PASSWORD_LENGTH");
  EXPECT_EQ(Reason(DeviceFile::Open(path_, Password()).status()), "NO_DEVICE_FILE");
}

TEST_F(DeviceFileTest, LosesNoChangeOfTwoThatWriteAtOnce) {
  DeviceFile one = Make();
  absl::StatusOr<DeviceFile> two = DeviceFile::Open(path_, Password());
  ASSERT_TRUE(two.ok());
  ASSERT_TRUE(one.Update([](Contents* contents) { return SetLabel(contents, "new label"); }).ok());
  ASSERT_TRUE(two->Update([](Contents* contents) {
                   contents->head.sequence = 8;
                   return absl::OkStatus();
                 })
                  .ok());
  EXPECT_EQ(two->contents().device_label, "new label");
  EXPECT_EQ(two->contents().head.sequence, 8);
}

TEST_F(DeviceFileTest, StaysAsItWasWhenAChangeFails) {
  DeviceFile device = Make();
  const std::string before = *ReadFile(path_, kMaxFileBytes);
  EXPECT_FALSE(device
                   .Update([](Contents* contents) {
                     SetLabel(contents, "half").IgnoreError();
                     return absl::InternalError("no");
                   })
                   .ok());
  EXPECT_EQ(device.contents().device_label, "Alice's laptop");
  EXPECT_EQ(*ReadFile(path_, kMaxFileBytes), before);
}

TEST_F(DeviceFileTest, ChangesItsPasswordForEveryOne) {
  DeviceFile device = Make();
  absl::StatusOr<DeviceFile> earlier = DeviceFile::Open(path_, Password());
  ASSERT_TRUE(earlier.ok());
  ASSERT_TRUE(device.ChangePassword(Secret::CopyOf("another password")).ok());
  ASSERT_TRUE(device.Update([](Contents* contents) { return SetLabel(contents, "after"); }).ok());
  EXPECT_EQ(Reason(DeviceFile::Open(path_, Password()).status()), "DEVICE_FILE_PASSWORD");
  EXPECT_EQ(DeviceFile::Open(path_, Secret::CopyOf("another password"))->contents().device_label, "after");
  // Who opened it before does not write it back under the old password.
  EXPECT_EQ(Reason(earlier->Update([](Contents* contents) { return SetLabel(contents, "old"); })),
            "DEVICE_FILE_CHANGED");
}

TEST_F(DeviceFileTest, CanBeRemovedWhenAClaimIsGivenUp) {
  DeviceFile device = Make();
  EXPECT_TRUE(device.Remove().ok());
  EXPECT_EQ(Reason(DeviceFile::Open(path_, Password()).status()), "NO_DEVICE_FILE");
}

TEST_F(DeviceFileTest, IsRememberedByTheSessionUntilForgottenOrChanged) {
  DeviceFile device = Make();
  EXPECT_EQ(Reason(DeviceFile::OpenRemembered(path_).status()), "NOT_REMEMBERED");
  const absl::Status remembered = device.Remember(absl::Hours(1));
  if (Reason(remembered) == "NO_KEYRING") GTEST_SKIP() << remembered;
  ASSERT_TRUE(remembered.ok()) << remembered;
  EXPECT_EQ(DeviceFile::OpenRemembered(path_)->contents().user_name, "alice");
  EXPECT_TRUE(*DeviceFile::Forget(path_));
  EXPECT_FALSE(*DeviceFile::Forget(path_));
  EXPECT_EQ(Reason(DeviceFile::OpenRemembered(path_).status()), "NOT_REMEMBERED");
  ASSERT_TRUE(device.Remember(absl::Hours(1)).ok());
  ASSERT_TRUE(device.ChangePassword(Secret::CopyOf("another password")).ok());
  EXPECT_EQ(Reason(DeviceFile::OpenRemembered(path_).status()), "NOT_REMEMBERED");
}

}  // namespace
}  // namespace parley::device
