// keyd on its host: its files, its first start and those that follow, and what it refuses to start on.
#include "services/keyd/host.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "lib/base/file.h"
#include "lib/store/sqlite_store.h"
#include "services/keyd/keys/organisation.h"
#include "services/keyd/store/sealer.h"
#include "services/keyd/testing/keyd_testing.h"

namespace parley::keyd {
namespace {

using access::v1::ROLE_DEVICE;

TEST_F(KeydTest, TheFirstStartMakesTheCredentials) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> expected = {
      {"admin", {"taskd", "enrolld", "keyd"}},
      {"operator", {"taskd", "enrolld", "keyd"}},
      {"taskd", {"keyd"}},
      {"enrolld", {"keyd"}}};
  for (const auto& [name, audiences] : expected) {
    struct stat info;
    ASSERT_EQ(stat(keyd_.CredentialPath(name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600);
    const keys::Credential credential = keyd_.CredentialOf(name);
    EXPECT_EQ(credential.subject, name);
    EXPECT_THAT(credential.ca_pem, testing::HasSubstr("BEGIN CERTIFICATE"));
    std::vector<std::string> found;
    for (const keys::AudienceKey& key : credential.keys) found.push_back(key.audience);
    EXPECT_EQ(found, audiences);
  }
  struct stat info;
  ASSERT_EQ(stat((keyd_.options.data + "/kek").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600);
  ASSERT_EQ(stat((keyd_.options.data + "/credentials").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700);
  EXPECT_TRUE(keyd_.ConnectAs("admin")->Issue(ROLE_DEVICE, "web-1").ok());
}

TEST(KeydStart, FinishesAFoundingThatWasCutShort) {
  TestKeyd keyd;
  ASSERT_TRUE(MakeFolders(keyd.options.data, 0700).ok());
  {
    const auto store = *store::OpenSqliteStore({.path = keyd.options.data + "/keyd.db"});
    const KeyStore keys(store.get(), &keyd.clock);
    const Secret kek = *MakeKek(keyd.options.data + "/kek");
    ASSERT_TRUE(Organisation::Open(&keys, kek, "parley").ok());
  }
  ASSERT_TRUE(keyd.Start().ok());
  EXPECT_TRUE(keyd.ConnectAs("admin")->Issue(ROLE_DEVICE, "web-1").ok());
}

TEST_F(KeydTest, ARestartKeepsTheKeysAndMakesNoNewAdmin) {
  const keys::Credential admin = keyd_.CredentialOf("admin");
  const keys::Credential taskd = keyd_.CredentialOf("taskd");
  keyd_.Stop();
  std::filesystem::remove(keyd_.CredentialPath("admin"));
  std::filesystem::remove(keyd_.CredentialPath("enrolld"));
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_TRUE(keyd_.Connect(admin)->Issue(ROLE_DEVICE, "web-1").ok());
  EXPECT_FALSE(std::filesystem::exists(keyd_.CredentialPath("admin"))) << "it was taken elsewhere";
  EXPECT_TRUE(std::filesystem::exists(keyd_.CredentialPath("enrolld")));
  EXPECT_EQ(keyd_.CredentialOf("taskd").serial, taskd.serial);

  keyd_.Stop();
  keyd_.options.new_admin = true;
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_NE(keyd_.CredentialOf("admin").serial, admin.serial);
  EXPECT_TRUE(keyd_.ConnectAs("admin")->Issue(ROLE_DEVICE, "web-2").ok());
}

TEST_F(KeydTest, ServiceCredentialsAreReplacedBeforeTheyEndAndWhenAddressesChange) {
  const std::string serial = keyd_.CredentialOf("taskd").serial;
  keyd_.Stop();
  keyd_.options.taskd_address = "taskd.example:7443";
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_EQ(keyd_.CredentialOf("taskd").serial, serial);
  EXPECT_EQ((*keyd_.CredentialOf("operator").KeyFor("taskd"))->address, "taskd.example:7443");
  keyd_.Stop();
  keyd_.clock.Advance(absl::Hours(24 * 300));
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_NE(keyd_.CredentialOf("taskd").serial, serial);
}

TEST_F(KeydTest, RefusesToStartOnFilesThatOthersMayRead) {
  for (const std::string& path : {keyd_.options.data + "/kek", keyd_.options.data + "/keyd.db",
                                  keyd_.CredentialPath("admin"), keyd_.CredentialPath("taskd")}) {
    keyd_.Stop();
    ASSERT_EQ(chmod(path.c_str(), 0640), 0);
    EXPECT_EQ(StartError(), "FILE_EXPOSED");
    EXPECT_THAT(message_, testing::HasSubstr(path));
    ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  }
  EXPECT_TRUE(keyd_.Start().ok());
}

TEST_F(KeydTest, RefusesToStartWithoutItsKek) {
  const std::string path = keyd_.options.data + "/kek";
  const Secret kek = *ReadKek(path);
  ASSERT_TRUE(MakeKek(path).ok());
  EXPECT_EQ(StartError(), "KEK_WRONG");
  EXPECT_THAT(message_, testing::HasSubstr(path));
  std::filesystem::remove(path);
  EXPECT_EQ(StartError(), "KEK_MISSING");
  ASSERT_TRUE(WriteSecretFile(path, Secret::CopyOf("not a key")).ok());
  EXPECT_EQ(StartError(), "KEK_MALFORMED");
  // The same in its other form.
  ASSERT_TRUE(WriteSecretFile(path, kek).ok());
  EXPECT_TRUE(keyd_.Start().ok());
}

TEST_F(KeydTest, FoundsNoOtherOrganisationBesideWhatIsLeftOfOne) {
  const std::string& data = keyd_.options.data;
  // By another process, because closing the file in this one would give up its locks.
  ASSERT_EQ(system(absl::StrCat("cp ", data, "/keyd.db ", data, "/alone.db").c_str()), 0);
  keyd_.Stop();
  std::filesystem::remove(data + "/keyd.db");
  EXPECT_EQ(StartError(), "DATABASE_MISSING");
  EXPECT_THAT(message_, testing::HasSubstr("admin.credential"));
  std::filesystem::remove_all(data + "/credentials");
  EXPECT_EQ(StartError(), "DATABASE_MISSING");
  EXPECT_THAT(message_, testing::HasSubstr("/kek"));
  // The file alone has the founding, whatever had not been copied to it yet.
  std::filesystem::rename(data + "/alone.db", data + "/keyd.db");
  ASSERT_TRUE(keyd_.Start().ok());
  EXPECT_TRUE(keyd_.ConnectAs("taskd") != nullptr);
}

TEST_F(KeydTest, OneKeydPerFolder) {
  EXPECT_EQ(Reason(Host::Open(keyd_.options, &keyd_.clock, nullptr).status()), "STORE_LOCKED");
}

TEST(KeydStart, RefusesAWildcardAsTheAddressOfCredentials) {
  for (const char* listen : {"0.0.0.0:0", "[::]:0", ":0"}) {
    TestFolder folder;
    Host::Options options;
    options.data = folder.path();
    options.listen = listen;
    EXPECT_EQ(Reason(Host::Open(options, Clock::System(), nullptr).status()), "PUBLIC_ADDRESS_MISSING");
  }
}

}  // namespace
}  // namespace parley::keyd
