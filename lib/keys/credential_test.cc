#include "lib/keys/credential.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/certificate.h"
#include "lib/keys/identity.h"

namespace parley::keys {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

Credential Example() {
  Credential credential;
  credential.role = access::v1::ROLE_OPERATOR;
  credential.subject = "alice";
  credential.serial = std::string(32, '7');
  credential.not_after = kNow + absl::Hours(24);
  credential.ca_pem = "-----BEGIN CERTIFICATE-----\n";
  credential.keys.push_back({"taskd", "taskd.example:7443", "AQAAAAFabQ", Secret::CopyOf(std::string(32, 's'))});
  credential.keys.push_back({"keyd", "[::1]:7444", "AQAAAAFxyQ", Secret::CopyOf(std::string(32, 't'))});
  return credential;
}

std::string ReasonOf(absl::string_view text) { return Reason(ParseCredential(Secret::CopyOf(text)).status()); }

void ExpectExample(const Credential& credential) {
  EXPECT_EQ(credential.role, access::v1::ROLE_OPERATOR);
  EXPECT_EQ(credential.subject, "alice");
  EXPECT_EQ(credential.serial, std::string(32, '7'));
  EXPECT_EQ(credential.not_after, kNow + absl::Hours(24));
  EXPECT_EQ(credential.ca_pem, "-----BEGIN CERTIFICATE-----\n");
  ASSERT_EQ(credential.keys.size(), 2u);
  EXPECT_EQ(credential.keys[1].audience, "keyd");
  EXPECT_EQ(credential.keys[1].address, "[::1]:7444");
  EXPECT_EQ(credential.keys[1].identity, "AQAAAAFxyQ");
  EXPECT_EQ(credential.keys[1].secret.Expose(), std::string(32, 't'));
}

TEST(Credential, ComesBackFromItsLine) {
  const Secret line = FormatCredential(Example());
  EXPECT_EQ(line.Expose().substr(0, 5), "prc1.");
  EXPECT_EQ(line.Expose().back(), '\n');
  const auto parsed = ParseCredential(line);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ExpectExample(*parsed);
  ASSERT_TRUE(ParseCredential(Secret::CopyOf(absl::StrCat("\r\n ", line.Expose(), " \r\n"))).ok());
}

TEST(Credential, RefusesEveryWrongLetter) {
  const std::string line(FormatCredential(Example()).Expose());
  for (size_t at = 0; at + 1 < line.size(); ++at) {
    for (const char letter : {'A', 'b', '9', '_', '.', '\0', '\xff'}) {
      std::string wrong = line;
      wrong[at] = letter;
      if (wrong != line) EXPECT_FALSE(ParseCredential(Secret::CopyOf(wrong)).ok()) << at << letter;
    }
  }
}

TEST(Credential, RefusesEveryTruncation) {
  const std::string line(FormatCredential(Example()).Expose());
  for (size_t size = 0; size + 1 < line.size(); ++size) EXPECT_NE(ReasonOf(line.substr(0, size)), "") << size;
}

TEST(Credential, SaysWhatWasGivenInItsPlace) {
  EXPECT_EQ(ReasonOf(""), "CREDENTIAL_NOT_ONE");
  EXPECT_EQ(ReasonOf("-----BEGIN CERTIFICATE-----"), "CREDENTIAL_NOT_ONE");
  EXPECT_EQ(ReasonOf("prl1.ABCDEF"), "CREDENTIAL_NOT_ONE");
  EXPECT_EQ(ReasonOf("prc2.ABCDEF"), "CREDENTIAL_VERSION");
  EXPECT_EQ(ReasonOf("prc1."), "CREDENTIAL_DAMAGED");
  EXPECT_EQ(ReasonOf(absl::StrCat("prc1.", std::string(100000, 'A'))), "CREDENTIAL_DAMAGED");
}

TEST(Credential, RefusesFieldsThatNoIssuerMakes) {
  const auto refused = [](auto change) {
    Credential credential = Example();
    change(&credential);
    return Reason(ParseCredential(FormatCredential(credential)).status()) == "CREDENTIAL_DAMAGED";
  };
  EXPECT_TRUE(refused([](Credential* c) { c->role = access::v1::ROLE_UNSPECIFIED; }));
  EXPECT_TRUE(refused([](Credential* c) { c->subject.clear(); }));
  EXPECT_TRUE(refused([](Credential* c) { c->serial = "7"; }));
  EXPECT_TRUE(refused([](Credential* c) { c->keys.clear(); }));
  EXPECT_TRUE(refused([](Credential* c) { c->keys[0].secret = Secret(31); }));
  EXPECT_TRUE(refused([](Credential* c) { c->keys[0].identity = std::string(129, 'A'); }));
  EXPECT_TRUE(refused([](Credential* c) { c->keys[0].identity = "not base64url!"; }));
  EXPECT_TRUE(refused([](Credential* c) { c->keys[0].address.clear(); }));
}

TEST(Credential, NamesTheRoleThatHasNoKeyForAnAudience) {
  const Credential credential = Example();
  EXPECT_EQ((*credential.KeyFor("taskd"))->identity, "AQAAAAFabQ");
  const absl::Status status = credential.KeyFor("enrolld").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(status.message().find("operator"), absl::string_view::npos) << status;
}

class CredentialFileTest : public testing::Test {
 protected:
  const std::string path_ = absl::StrCat(testing::TempDir(), "/credential.", getpid());
  ~CredentialFileTest() override { unlink(path_.c_str()); }
};

TEST_F(CredentialFileTest, IsWrittenForItsOwnerAlone) {
  ASSERT_TRUE(WriteCredentialFile(path_, Example()).ok());
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto read = ReadCredentialFile(path_);
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectExample(*read);
}

TEST_F(CredentialFileTest, IsRefusedWhenOthersMayOpenIt) {
  for (const mode_t mode : {0644, 0640, 0604, 0620, 0610}) {
    ASSERT_TRUE(WriteFileAtomically(path_, FormatCredential(Example()).Expose(), mode).ok());
    const absl::Status status = ReadCredentialFile(path_).status();
    EXPECT_EQ(Reason(status), "FILE_EXPOSED") << mode;
    EXPECT_NE(status.message().find(path_), absl::string_view::npos);
  }
}

TEST_F(CredentialFileTest, NamesThePathOfADamagedFile) {
  ASSERT_TRUE(WriteFileAtomically(path_, "prc1.AAAA", 0600).ok());
  const absl::Status status = ReadCredentialFile(path_).status();
  EXPECT_EQ(Reason(status), "CREDENTIAL_DAMAGED");
  EXPECT_NE(status.message().find(path_), absl::string_view::npos) << status;
  unlink(path_.c_str());
  EXPECT_EQ(Reason(ReadCredentialFile(path_).status()), "FILE_NOT_FOUND");
}

TEST(ExportCredential, GivesTheKeyThatTheServerDerives) {
  const Credential credential = Example();
  const auto exported = ExportCredential(credential, "taskd", kNow);
  ASSERT_TRUE(exported.ok()) << exported.status();
  EXPECT_EQ(exported->ca_pem, credential.ca_pem);
  EXPECT_EQ(crypto::EcKey::FromPem(exported->key_pem)->PublicKey(),
            crypto::EcKey::Derive(DeriveCertificateSeed(credential.keys[0].secret))->PublicKey());
  EXPECT_EQ(exported->certificate_pem.substr(0, 27), "-----BEGIN CERTIFICATE-----");
}

TEST(ExportCredential, RefusesAnExpiredCredential) {
  EXPECT_EQ(Reason(ExportCredential(Example(), "taskd", kNow + absl::Hours(24)).status()), "CREDENTIAL_EXPIRED");
  EXPECT_EQ(Reason(ExportCredential(Example(), "enrolld", kNow).status()), "CREDENTIAL_AUDIENCE");
}

}  // namespace
}  // namespace parley::keys
