#include "lib/crypto/certificate.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <string>

#include "gtest/gtest.h"
#include "lib/base/error.h"

namespace parley::crypto {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
const absl::Time kLater = kNow + absl::Hours(24);

Secret SecretOf(char letter) { return Secret::CopyOf(std::string(32, letter)); }

bssl::UniquePtr<X509> Parse(absl::string_view pem) {
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return bssl::UniquePtr<X509>(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

std::string DerOf(X509* certificate) {
  uint8_t* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  std::string text(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return text;
}

std::string Der(absl::string_view pem) { return DerOf(Parse(pem).get()); }

// A client certificate with the alternative names of `value`, as an attacker would make one.
std::string DerWithNames(const char* value) {
  const EcKey key = *EcKey::Derive(SecretOf('a'));
  const bssl::UniquePtr<X509> certificate = Parse(*MakeClientCertificate(key, "identity", kNow, kLater));
  bssl::UniquePtr<X509_EXTENSION> old(
      X509_delete_ext(certificate.get(), X509_get_ext_by_NID(certificate.get(), NID_subject_alt_name, -1)));
  if (value != nullptr) {
    bssl::UniquePtr<X509_EXTENSION> added(X509V3_EXT_nconf_nid(nullptr, nullptr, NID_subject_alt_name, value));
    X509_add_ext(certificate.get(), added.get(), -1);
  }
  const Secret pem = key.ToPem();
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.Expose().data(), static_cast<int>(pem.size())));
  bssl::UniquePtr<EVP_PKEY> private_key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  X509_sign(certificate.get(), private_key.get(), EVP_sha256());
  return DerOf(certificate.get());
}

TEST(EcKey, IsTheSameForTheSameSecret) {
  const EcKey key = *EcKey::Derive(SecretOf('a'));
  EXPECT_EQ(key.PublicKey(), EcKey::Derive(SecretOf('a'))->PublicKey());
  EXPECT_NE(key.PublicKey(), EcKey::Derive(SecretOf('b'))->PublicKey());
  EXPECT_EQ(Reason(EcKey::Derive(Secret(15)).status()), "KEY_LENGTH");
}

TEST(EcKey, ComesBackFromItsPem) {
  const EcKey key = EcKey::Generate();
  const absl::StatusOr<EcKey> read = EcKey::FromPem(key.ToPem());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->PublicKey(), key.PublicKey());
}

TEST(EcKey, RefusesWhatIsNotAnUnencryptedP256Key) {
  const std::string pem(EcKey::Generate().ToPem().Expose());
  EXPECT_FALSE(EcKey::FromPem(Secret()).ok());
  EXPECT_FALSE(EcKey::FromPem(Secret::CopyOf(pem.substr(0, pem.size() / 2))).ok());
  // An Ed25519 key.
  EXPECT_FALSE(EcKey::FromPem(Secret::CopyOf("-----BEGIN PRIVATE KEY-----\n"
                                             "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
                                             "-----END PRIVATE KEY-----\n"))
                   .ok());
}

TEST(ClientCertificate, CarriesTheLongestIdentityAndTheKey) {
  const EcKey key = *EcKey::Derive(SecretOf('a'));
  const std::string identity(128, 'i');
  const absl::StatusOr<std::string> pem = MakeClientCertificate(key, identity, kNow, kLater);
  ASSERT_TRUE(pem.ok()) << pem.status();
  EXPECT_EQ(*IdentityOfClientCertificate(Der(*pem)), identity);
  EXPECT_EQ(*PublicKeyOfCertificate(Der(*pem)), key.PublicKey());
}

TEST(ClientCertificate, EndsWithItsKey) {
  const EcKey key = EcKey::Generate();
  const bssl::UniquePtr<X509> certificate = Parse(*MakeClientCertificate(key, "i", kNow, kLater));
  int days = 0, seconds = 0;
  ASSERT_EQ(
      ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(certificate.get()), X509_get0_notAfter(certificate.get())),
      1);
  EXPECT_EQ(days * 86400 + seconds, 25 * 3600);
  EXPECT_FALSE(MakeClientCertificate(key, "i", kNow, kNow - absl::Hours(2)).ok());
  EXPECT_FALSE(MakeClientCertificate(key, "i", kNow, absl::InfiniteFuture()).ok());
}

TEST(ClientCertificate, MustHaveExactlyOneIdentity) {
  EXPECT_EQ(*IdentityOfClientCertificate(DerWithNames("URI:parley:a")), "a");
  for (const char* names : {"URI:parley:a,URI:parley:b", "URI:parley:a,DNS:b", "DNS:parley:a", "URI:https://a",
                            "URI:parle", "email:parley:a"}) {
    EXPECT_EQ(IdentityOfClientCertificate(DerWithNames(names)).status().code(), absl::StatusCode::kInvalidArgument)
        << names;
  }
  EXPECT_FALSE(IdentityOfClientCertificate(DerWithNames(nullptr)).ok());
}

TEST(ClientCertificate, IsRefusedWhenDamaged) {
  const std::string der = Der(*MakeClientCertificate(EcKey::Generate(), "identity", kNow, kLater));
  for (size_t size = 0; size < der.size(); ++size) {
    EXPECT_FALSE(IdentityOfClientCertificate(der.substr(0, size)).ok()) << size;
    EXPECT_FALSE(PublicKeyOfCertificate(der.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(IdentityOfClientCertificate(der + "x").ok());
}

class ServerCertificateTest : public testing::Test {
 protected:
  absl::StatusOr<std::string> Make(std::vector<std::string> names) const {
    return MakeServerCertificate(ca_key_, ca_pem_, server_key_.PublicKey(), names, kNow, kLater);
  }

  const EcKey ca_key_ = EcKey::Generate();
  const EcKey server_key_ = EcKey::Generate();
  const std::string ca_pem_ = *MakeCaCertificate(ca_key_, "Example", kNow, kLater);
};

TEST_F(ServerCertificateTest, VerifiesUnderTheCaForItsNamesAlone) {
  const absl::StatusOr<std::string> pem = Make({"taskd.example", "127.0.0.1", "::1", "*.pods.example"});
  ASSERT_TRUE(pem.ok()) << pem.status();
  const bssl::UniquePtr<X509> certificate = Parse(*pem);
  const bssl::UniquePtr<X509> ca = Parse(ca_pem_);
  bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), ca.get());
  bssl::UniquePtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), certificate.get(), nullptr);
  X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_SERVER);
  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context.get()), absl::ToTimeT(kNow));
  EXPECT_EQ(X509_verify_cert(context.get()), 1)
      << X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));

  EXPECT_EQ(X509_check_host(certificate.get(), "taskd.example", 13, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(certificate.get(), "a.pods.example", 14, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(certificate.get(), "keyd.example", 12, 0, nullptr), 0);
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "127.0.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "::1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "127.0.0.2", 0), 0);
}

TEST_F(ServerCertificateTest, RefusesMalformedNames) {
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("-a"), std::string("a..b"), std::string("*"),
        std::string("a.*.b"), std::string("a\0b", 3), std::string("a,DNS:b"), std::string(64, 'a'),
        std::string(300, 'a'), std::string("host:7443"), std::string("ü.example")}) {
    EXPECT_FALSE(Make({name}).ok()) << name;
  }
  EXPECT_FALSE(Make({}).ok());
}

TEST_F(ServerCertificateTest, RefusesAnotherKeyThanTheCas) {
  EXPECT_FALSE(MakeServerCertificate(server_key_, ca_pem_, server_key_.PublicKey(), {"taskd"}, kNow, kLater).ok());
  EXPECT_FALSE(MakeServerCertificate(ca_key_, "not PEM", server_key_.PublicKey(), {"taskd"}, kNow, kLater).ok());
}

TEST_F(ServerCertificateTest, RefusesAPublicKeyThatIsNotP256) {
  std::string damaged = server_key_.PublicKey();
  damaged.back() ^= 1;  // Not on the curve.
  for (const std::string& key : {std::string(), std::string("x"), damaged, server_key_.PublicKey() + "x"}) {
    EXPECT_FALSE(MakeServerCertificate(ca_key_, ca_pem_, key, {"taskd"}, kNow, kLater).ok());
  }
}

TEST(CaCertificate, RefusesNamesThatDoNotFit) {
  const EcKey key = EcKey::Generate();
  EXPECT_TRUE(MakeCaCertificate(key, "Bücher GmbH", kNow, kLater).ok());
  EXPECT_FALSE(MakeCaCertificate(key, std::string(65, 'a'), kNow, kLater).ok());
  EXPECT_FALSE(MakeCaCertificate(key, "", kNow, kLater).ok());
  EXPECT_FALSE(MakeCaCertificate(key, "\xff\xfe", kNow, kLater).ok());
}

TEST(CaCertificate, SaysWhoseItIs) {
  for (const char* const name : {"Example", "Bücher GmbH"}) {
    EXPECT_EQ(*OrganisationOfCa(*MakeCaCertificate(EcKey::Generate(), name, kNow, kLater)), name);
  }
  EXPECT_FALSE(OrganisationOfCa("").ok());
  EXPECT_FALSE(OrganisationOfCa("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").ok());
}

}  // namespace
}  // namespace parley::crypto
