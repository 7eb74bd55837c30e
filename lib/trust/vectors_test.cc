// tests/vectors/certificates.json, made from docs/protocol/certificates.md and manifest.md by a program that shares
// nothing with this library.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/vectors_testing.h"
#include "lib/trust/certificate.h"
#include "lib/trust/chain.h"
#include "lib/trust/operator_signature.h"

namespace parley::trust {
namespace {

class CertificateVectors : public testing::Test {
 protected:
  CertificateVectors()
      : vectors_(Vector::Read("certificates.json")), now_(absl::FromUnixSeconds(vectors_.Number("now"))) {}

  static v1::SignedCertificate Certificate(const Vector& object) {
    v1::SignedCertificate certificate;
    certificate.set_certificate_bytes(object.Bytes("certificate_bytes"));
    certificate.set_signature(object.Bytes("signature"));
    return certificate;
  }
  Chain WholeChain() const {
    Chain chain = *Chain::Create(vectors_.Bytes("root_verification_key"));
    for (const Vector& object : vectors_.List("chain")) {
      EXPECT_EQ(chain.Append(Certificate(object), now_), absl::OkStatus());
      EXPECT_EQ(HexEncode(chain.head().hash), object.Text("hash"));
    }
    EXPECT_EQ(chain.CheckWhole(), absl::OkStatus());
    return chain;
  }

  const Vector vectors_;
  const absl::Time now_;
};

TEST_F(CertificateVectors, AChainOfEveryKind) {
  const Chain chain = WholeChain();
  ASSERT_EQ(chain.Users().size(), vectors_.List("users").size());
  for (const Vector& expected : vectors_.List("users")) {
    const User* const user = chain.FindUser(expected.Bytes("id"));
    ASSERT_NE(user, nullptr);
    EXPECT_EQ(user->name, expected.Text("name"));
    EXPECT_EQ(user->role, expected.Number("role"));
    EXPECT_EQ(user->revoked.has_value(), expected.Is("revoked"));
  }
  for (const Vector& expected : vectors_.List("devices")) {
    const Device* const device = chain.FindDevice(expected.Bytes("id"));
    ASSERT_NE(device, nullptr);
    EXPECT_EQ(HexEncode(device->user), expected.Text("user"));
    EXPECT_EQ(device->label, expected.Text("label"));
    EXPECT_EQ(chain.IsLive(device->id), expected.Is("live"));
  }
}

TEST_F(CertificateVectors, WhatMustNotFollow) {
  const Chain whole = WholeChain();
  int count = 0;
  for (const Vector& refusal : vectors_.List("refusals")) {
    Chain chain = whole;
    EXPECT_EQ(Reason(chain.Append(Certificate(refusal), now_)), refusal.Text("reason")) << count;
    EXPECT_EQ(chain.head(), whole.head());
    ++count;
  }
  EXPECT_GT(count, 60);
}

TEST_F(CertificateVectors, NoCertificateIsMissing) {
  // Each dropped in turn: what follows it does not fit.
  const std::vector<Vector> objects = vectors_.List("chain");
  for (size_t dropped = 0; dropped + 1 < objects.size(); ++dropped) {
    Chain chain = *Chain::Create(vectors_.Bytes("root_verification_key"));
    for (size_t i = 0; i < dropped; ++i) ASSERT_EQ(chain.Append(Certificate(objects[i]), now_), absl::OkStatus());
    EXPECT_EQ(Reason(chain.Append(Certificate(objects[dropped + 1]), now_)), "CHAIN_GAP");
  }
}

TEST_F(CertificateVectors, NoBitIsFree) {
  for (const Vector& object : vectors_.List("chain")) {
    v1::SignedCertificate certificate = Certificate(object);
    Chain before = *Chain::Create(vectors_.Bytes("root_verification_key"));
    for (const Vector& earlier : vectors_.List("chain")) {
      if (earlier.Text("hash") == object.Text("hash")) break;
      ASSERT_EQ(before.Append(Certificate(earlier), now_), absl::OkStatus());
    }
    for (std::string* const bytes : {certificate.mutable_certificate_bytes(), certificate.mutable_signature()}) {
      for (char& byte : *bytes) {
        byte ^= 0x10;
        EXPECT_FALSE(before.Append(certificate, now_).ok());
        byte ^= 0x10;
      }
    }
  }
}

TEST_F(CertificateVectors, OperatorsSignatures) {
  const Chain chain = WholeChain();
  const Vector vectors = vectors_.Object("operator");
  task::v1::SignedManifest manifest;
  manifest.set_manifest(vectors.Bytes("manifest"));
  int count = 0;
  for (const Vector& expected : vectors.List("cases")) {
    ASSERT_TRUE(manifest.mutable_operator_signature()->ParseFromString(expected.Bytes("operator_signature")));
    const auto signer = VerifyOperator(manifest, chain, now_);
    EXPECT_EQ(Reason(signer.status()), expected.Text("reason")) << count;
    EXPECT_EQ(signer.ok(), expected.Text("reason").empty()) << count++;
  }
}

}  // namespace
}  // namespace parley::trust
