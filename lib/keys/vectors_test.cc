// tests/vectors/keys.json, made from docs/protocol/keys.md by a program that shares nothing with this library.

#include <cstdint>
#include <map>
#include <utility>

#include "gtest/gtest.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/vectors_testing.h"
#include "lib/crypto/certificate.h"
#include "lib/keys/credential.h"
#include "lib/keys/identity.h"
#include "lib/keys/invitation_link.h"
#include "lib/keys/join_key.h"

namespace parley::keys {
namespace {

std::vector<Vector> Cases(const char* list) { return Vector::Read("keys.json").List(list); }

void Load(Keyring* keyring, uint32_t epoch, Secret key) {
  std::map<uint32_t, Secret> keys;
  keys.emplace(epoch, std::move(key));
  ASSERT_TRUE(keyring->Replace(std::move(keys), epoch).ok());
}

TEST(KeyVectors, IdentitiesAndWhatFollowsFromThem) {
  for (const Vector& vector : Cases("identities")) {
    const Secret key = DeriveAudienceKey(vector.SecretBytes("root"), vector.Text("audience"));
    EXPECT_EQ(HexEncode(key.Expose()), vector.Text("audience_key"));
    Keyring keyring;
    Load(&keyring, static_cast<uint32_t>(vector.Number("epoch")), key.Clone());
    const auto minted = keyring.Mint({static_cast<access::v1::Role>(vector.Number("role")), vector.Text("subject"),
                                      vector.Bytes("serial"), vector.Time("not_after")});
    ASSERT_TRUE(minted.ok()) << minted.status();
    EXPECT_EQ(minted->identity, vector.Text("identity"));
    EXPECT_EQ(HexEncode(minted->secret.Expose()), vector.Text("secret"));
    EXPECT_EQ(HexEncode(DerivePsk(minted->secret).Expose()), vector.Text("psk"));
    const Secret seed = DeriveCertificateSeed(minted->secret);
    EXPECT_EQ(HexEncode(seed.Expose()), vector.Text("certificate_seed"));
    EXPECT_EQ(HexEncode(crypto::EcKey::Derive(seed)->PublicKey()), vector.Text("public_key"));
    const auto opened = keyring.Open(vector.Text("identity"));
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(opened->claims.subject, vector.Text("subject"));
    EXPECT_EQ(opened->claims.serial, vector.Bytes("serial"));
    EXPECT_EQ(opened->claims.not_after, vector.Time("not_after"));
  }
}

TEST(KeyVectors, RefusedIdentities) {
  Keyring keyring;
  Load(&keyring, 1, Cases("identities")[0].SecretBytes("audience_key"));
  ASSERT_TRUE(keyring.Open(Cases("identities")[0].Text("identity")).ok());
  for (const Vector& vector : Cases("refused_identities")) {
    EXPECT_EQ(Reason(keyring.Open(vector.Text("identity")).status()), "KEY_UNKNOWN") << vector.Text("why");
  }
}

TEST(KeyVectors, Credentials) {
  for (const Vector& vector : Cases("credentials")) {
    Credential credential;
    credential.role = static_cast<access::v1::Role>(vector.Number("role"));
    credential.subject = vector.Text("subject");
    credential.serial = vector.Text("serial");
    credential.not_after = vector.Time("not_after");
    credential.ca_pem = vector.Text("ca_pem");
    for (const Vector& key : vector.List("keys")) {
      credential.keys.push_back(
          {key.Text("audience"), key.Text("address"), key.Text("identity"), key.SecretBytes("secret")});
    }
    EXPECT_EQ(FormatCredential(credential).Expose(), vector.Text("line") + "\n");
    const auto parsed = ParseCredential(Secret::CopyOf(vector.Text("line")));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_TRUE(FormatCredential(*parsed) == FormatCredential(credential));
  }
}

TEST(KeyVectors, JoinKeys) {
  for (const Vector& vector : Cases("join_keys")) {
    const auto parsed = ParseJoinKey(Secret::CopyOf(vector.Text("text")), vector.Time("not_after") - absl::Seconds(1));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->address, vector.Text("address"));
    EXPECT_EQ(parsed->task, vector.Text("task"));
    EXPECT_EQ(parsed->identity, vector.Text("identity"));
    EXPECT_EQ(HexEncode(parsed->secret.Expose()), vector.Text("secret"));
    EXPECT_EQ(HexEncode(parsed->verification_key), vector.Text("verification_key"));
    EXPECT_EQ(parsed->not_after, vector.Time("not_after"));
    EXPECT_EQ(FormatJoinKey(*parsed)->Expose(), vector.Text("text"));
  }
}

TEST(KeyVectors, RefusedJoinKeys) {
  for (const Vector& vector : Cases("refused_join_keys")) {
    const absl::Time now = vector.Has("now") ? vector.Time("now") : absl::UnixEpoch();
    EXPECT_EQ(Reason(ParseJoinKey(Secret::CopyOf(vector.Text("text")), now).status()), vector.Text("reason"))
        << vector.Text("why");
  }
}

TEST(KeyVectors, InvitationLinks) {
  for (const Vector& vector : Cases("invitation_links")) {
    const auto parsed =
        ParseInvitationLink(Secret::CopyOf(vector.Text("text")), vector.Time("not_after") - absl::Seconds(1));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->address, vector.Text("address"));
    EXPECT_EQ(parsed->organisation, vector.Text("organisation"));
    EXPECT_EQ(parsed->invitation, vector.Text("invitation"));
    EXPECT_EQ(static_cast<int>(parsed->kind), vector.Number("kind"));
    EXPECT_EQ(parsed->identity, vector.Text("identity"));
    EXPECT_EQ(HexEncode(parsed->secret.Expose()), vector.Text("secret"));
    EXPECT_EQ(parsed->not_after, vector.Time("not_after"));
    EXPECT_EQ(FormatInvitationLink(*parsed)->Expose(), vector.Text("text"));
  }
}

TEST(KeyVectors, RefusedInvitationLinks) {
  for (const Vector& vector : Cases("refused_invitation_links")) {
    const absl::Time now = vector.Has("now") ? vector.Time("now") : absl::UnixEpoch();
    EXPECT_EQ(Reason(ParseInvitationLink(Secret::CopyOf(vector.Text("text")), now).status()), vector.Text("reason"))
        << vector.Text("why");
  }
}

}  // namespace
}  // namespace parley::keys
