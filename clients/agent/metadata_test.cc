// What people and programs have given their files stays with them.
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "clients/agent/installer_testing.h"
#include "clients/agent/namespace_testing.h"
#include "lib/payload/permissions.h"

namespace parley::agent {
namespace {

namespace fs = std::filesystem;

// What setfacl -m u:USER:r makes of a file with the mode: owner, this user by name, group, mask, others.
std::string ListFor(mode_t mode) {
  std::string acl("\x02\x00\x00\x00", 4);
  const auto add = [&acl](int tag, mode_t allowed, uint32_t id) {
    for (const uint32_t value : {static_cast<uint32_t>(tag), static_cast<uint32_t>(allowed)}) {
      acl.push_back(static_cast<char>(value & 0xff));
      acl.push_back(static_cast<char>(value >> 8));
    }
    for (int shift = 0; shift < 32; shift += 8) acl.push_back(static_cast<char>(id >> shift));
  };
  add(0x01, mode >> 6 & 7, ~0u);
  add(0x02, 4, geteuid());
  add(0x04, mode >> 3 & 7, ~0u);
  add(0x10, 4 | (mode >> 3 & 7), ~0u);
  add(0x20, mode & 7, ~0u);
  return acl;
}

class MetadataTest : public AnyMethodTest {
 protected:
  void Set(const std::string& path, const std::string& name, const std::string& value) {
    ASSERT_EQ(setxattr((Target() + "/" + path).c_str(), name.c_str(), value.data(), value.size(), 0), 0)
        << name << ": " << strerror(errno);
  }
  std::string Get(const std::string& path, const std::string& name) {
    char value[1000];
    const ssize_t size = getxattr((Target() + "/" + path).c_str(), name.c_str(), value, sizeof(value));
    return size < 0 ? "" : std::string(value, static_cast<size_t>(size));
  }
  struct stat Stat(const std::string& path) {
    struct stat info = {};
    stat((Target() + "/" + path).c_str(), &info);
    return info;
  }
};
INSTANTIATE_TEST_SUITE_P(Metadata, MetadataTest, testing::Values(Method::kExchange, Method::kFiles), MethodName);

TEST_P(MetadataTest, AnUnchangedFileStaysAsItIs) {
  WriteTestFile(Target() + "/key.pem", "secret");
  chmod((Target() + "/key.pem").c_str(), 0644);
  Set("key.pem", payload::kAccessAcl, ListFor(0644));
  Set("key.pem", "user.note", "mine");
  const timespec times[2] = {{1000, 0}, {2000, 5}};
  utimensat(AT_FDCWD, (Target() + "/key.pem").c_str(), times, 0);
  if (IsRealRoot()) {
    ASSERT_EQ(chown((Target() + "/key.pem").c_str(), 1, 2), 0);
  }
  Open();
  ASSERT_TRUE(Install({{"key.pem", "secret"}, {"site.conf", "new"}}).ok());
  EXPECT_EQ(*installer_->PendingDigest(), installer_->pending()->digest);
  EXPECT_EQ(Get("key.pem", payload::kAccessAcl), ListFor(0644));
  EXPECT_EQ(Get("key.pem", "user.note"), "mine");
  EXPECT_EQ(Stat("key.pem").st_mtim.tv_sec, 2000);
  if (IsRealRoot()) {
    EXPECT_EQ(Stat("key.pem").st_gid, 2u);
  }
}

TEST_P(MetadataTest, AChangedFileKeepsOwnerListAttributesAndLabel) {
  WriteTestFile(Target() + "/key.pem", "old secret");
  Set("key.pem", payload::kAccessAcl, ListFor(0600));
  Set("key.pem", "user.note", "mine");
  if (IsRealRoot()) {
    ASSERT_EQ(chown((Target() + "/key.pem").c_str(), 1, 2), 0);
    Set("key.pem", "security.selinux", "system_u:object_r:cert_t:s0");
  }
  Open();
  ASSERT_TRUE(Install({{"key.pem", "new secret"}}).ok());
  EXPECT_EQ(ReadTestFile(Target() + "/key.pem"), "new secret");
  // The signed mode is 0644; what the list gives the other user stays.
  EXPECT_EQ(Get("key.pem", payload::kAccessAcl).substr(0, 20), ListFor(0644).substr(0, 20));
  EXPECT_EQ(Get("key.pem", "user.note"), "mine");
  EXPECT_EQ(*installer_->PendingDigest(), installer_->pending()->digest);
  if (!IsRealRoot()) return;
  EXPECT_EQ(Stat("key.pem").st_uid, 1u);
  EXPECT_EQ(Stat("key.pem").st_gid, 2u);
  EXPECT_EQ(Get("key.pem", "security.selinux"), "system_u:object_r:cert_t:s0");
}

TEST_P(MetadataTest, AFolderStaysAsItIs) {
  WriteTestFile(Target() + "/data/a", "1");
  Open();
  ASSERT_EQ(InstallAndCommit({{"data/a", "1"}, {"data/b", "1"}}), absl::OkStatus());
  chmod((Target() + "/data").c_str(), 0700);
  if (IsRealRoot()) {
    ASSERT_EQ(chown((Target() + "/data").c_str(), 65534, 3), 0);
  }
  Set("data", payload::kDefaultAcl, ListFor(0600));
  ASSERT_TRUE(Install({{"data/a", "2"}, {"data/new/c", "2"}}, 2).ok());
  EXPECT_EQ(Stat("data").st_mode & 07777, 0700u);
  if (IsRealRoot()) {
    EXPECT_EQ(Stat("data").st_uid, 65534u);
  }
  // What is new in it inherits, as if it had been made there.
  EXPECT_EQ(Get("data/new", payload::kDefaultAcl), ListFor(0600));
  EXPECT_EQ(Get("data/new/c", payload::kAccessAcl).substr(12, 8), ListFor(0600).substr(12, 8));
  EXPECT_EQ(*installer_->PendingDigest(), installer_->pending()->digest);
}

TEST_P(MetadataTest, ANewFileGetsTheGroupThatItsFolderHandsDown) {
  fs::create_directories(Target() + "/shared");
  if (IsRealRoot()) {
    ASSERT_EQ(chown((Target() + "/shared").c_str(), 0, 3), 0);
  }
  chmod((Target() + "/shared").c_str(), 02775);
  Open();
  ASSERT_TRUE(Install({{"shared/a", "1"}, {"shared/sub/b", "1"}}).ok());
  const gid_t group = Stat("shared").st_gid;
  EXPECT_EQ(Stat("shared/a").st_gid, group);
  EXPECT_EQ(Stat("shared/sub").st_mode & 07777, 02755u);
  EXPECT_EQ(Stat("shared/sub/b").st_gid, group);
}

TEST(Permissions, AreThoseOfTheListsGroupAndNotOfItsMask) {
  const std::string acl = ListFor(0600);
  EXPECT_EQ(payload::PermissionsIn(acl, 0640), 0600u);
  EXPECT_EQ(payload::PermissionsIn(payload::AclWithMode(acl, 0755), 0640), 0755u);
  EXPECT_EQ(payload::PermissionsIn("", 0640), 0640u);
  EXPECT_EQ(payload::PermissionsIn("nonsense", 0640), 0640u);
  EXPECT_EQ(payload::AclWithMode("nonsense", 0640), "");
}

}  // namespace
}  // namespace parley::agent
