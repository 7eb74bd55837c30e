#include "lib/payload/manifest.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"

namespace parley::payload {
namespace {

using task::v1::FileEntry;
using task::v1::Manifest;
using task::v1::SignedManifest;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

class ManifestTest : public testing::Test {
 protected:
  ManifestTest() {
    FileEntry* entry = files_.Add();
    entry->set_path("a");
    entry->set_type(FileEntry::TYPE_REGULAR);
    entry->set_mode(0644);
    entry->set_size(1);
    entry->set_sha256(crypto::Sha256("x"));
    entry->add_chunks(crypto::Sha256("x"));
    fields_ = {.task = "tasks/t", .revision = 1, .create_time = kNow, .expire_time = kNow + absl::Hours(1)};
    signed_ = *SignManifest(fields_, files_, key_);
  }

  std::string ReasonOf(const SignedManifest& manifest, absl::Time now = kNow) {
    return Reason(VerifyManifest(manifest, key_.verification_key(), "tasks/t", now).status());
  }

  // Signs whatever it is given: an operator's key in the wrong hands, or a bug.
  SignedManifest Sign(const std::string& bytes) {
    SignedManifest made;
    made.set_manifest(bytes);
    made.set_signature(key_.Sign(absl::StrCat(absl::string_view("parley manifest v1\0", 19), bytes)));
    return made;
  }

  template <typename Change>
  std::string ReasonWith(Change change) {
    Manifest manifest;
    manifest.ParseFromString(signed_.manifest());
    change(&manifest);
    return ReasonOf(Sign(manifest.SerializeAsString()));
  }

  crypto::SigningKey key_ = crypto::SigningKey::Generate();
  Files files_;
  ManifestFields fields_;
  SignedManifest signed_;
};

TEST_F(ManifestTest, VerifiesWhatWasSigned) {
  const auto manifest = VerifyManifest(signed_, key_.verification_key(), "tasks/t", kNow);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->revision(), 1);
  EXPECT_EQ(manifest->size(), 1);
  EXPECT_EQ(manifest->digest(), DigestFiles(files_));
}

TEST_F(ManifestTest, SortsBeforeItSigns) {
  *files_.Add() = files_[0];
  files_.Mutable(0)->set_path("b");
  EXPECT_TRUE(SignManifest(fields_, files_, key_).ok());
}

TEST_F(ManifestTest, RefusesToSignWhatNobodyWouldAccept) {
  EXPECT_EQ(Reason(SignManifest(fields_, Files(), key_).status()), "PAYLOAD_EMPTY");
  fields_.expire_time = kNow;
  EXPECT_EQ(Reason(SignManifest(fields_, files_, key_).status()), "MANIFEST_EXPIRED");
  fields_.expire_time = kNow + absl::Hours(1);
  fields_.revision = 0;
  EXPECT_EQ(Reason(SignManifest(fields_, files_, key_).status()), "MANIFEST_MALFORMED");
  fields_.revision = 1;
  for (int i = 0; i < 9000; ++i) {
    *files_.Add() = files_[0];
    files_.Mutable(i + 1)->set_path(absl::StrCat(std::string(200, 'n'), "/", std::string(200, 'n'), i));
  }
  EXPECT_EQ(Reason(SignManifest(fields_, files_, key_).status()), "MANIFEST_TOO_LARGE");
}

TEST_F(ManifestTest, RefusesEveryFlippedBit) {
  for (size_t i = 0; i < signed_.manifest().size(); ++i) {
    SignedManifest tampered = signed_;
    (*tampered.mutable_manifest())[i] ^= 1;
    EXPECT_EQ(ReasonOf(tampered), "MANIFEST_SIGNATURE") << i;
  }
  for (size_t i = 0; i < signed_.signature().size(); ++i) {
    SignedManifest tampered = signed_;
    (*tampered.mutable_signature())[i] ^= 1;
    EXPECT_EQ(ReasonOf(tampered), "MANIFEST_SIGNATURE") << i;
  }
}

TEST_F(ManifestTest, RefusesAnotherKeysSignatureAndNone) {
  EXPECT_EQ(ReasonOf(*SignManifest(fields_, files_, crypto::SigningKey::Generate())), "MANIFEST_SIGNATURE");
  signed_.clear_signature();
  EXPECT_EQ(ReasonOf(signed_), "MANIFEST_SIGNATURE");
  EXPECT_EQ(Reason(VerifyManifest(signed_, "", "tasks/t", kNow).status()), "MANIFEST_SIGNATURE");
}

TEST_F(ManifestTest, RefusesASignatureOfAnotherContext) {
  signed_.set_signature(key_.Sign(signed_.manifest()));
  EXPECT_EQ(ReasonOf(signed_), "MANIFEST_SIGNATURE");
}

TEST_F(ManifestTest, RefusesTruncatedAndOversizedOnes) {
  SignedManifest truncated = signed_;
  truncated.mutable_manifest()->pop_back();
  EXPECT_EQ(ReasonOf(truncated), "MANIFEST_SIGNATURE");
  EXPECT_EQ(ReasonOf(Sign(truncated.manifest())), "MANIFEST_MALFORMED");
  EXPECT_EQ(ReasonOf(Sign(std::string(kMaxManifestBytes + 1, '\0'))), "MANIFEST_TOO_LARGE");
}

TEST_F(ManifestTest, RefusesAnotherTasksManifest) {
  EXPECT_EQ(Reason(VerifyManifest(signed_, key_.verification_key(), "tasks/u", kNow).status()), "MANIFEST_TASK");
}

TEST_F(ManifestTest, RefusesAnExpiredOne) {
  EXPECT_EQ(ReasonOf(signed_, kNow + absl::Hours(1) - absl::Nanoseconds(1)), "");
  EXPECT_EQ(ReasonOf(signed_, kNow + absl::Hours(1)), "MANIFEST_EXPIRED");
}

TEST_F(ManifestTest, RefusesFieldsThatDoNotHoldThoughSigned) {
  EXPECT_EQ(ReasonWith([](Manifest* m) {}), "");
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->set_revision(0); }), "MANIFEST_MALFORMED");
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->set_chunk_size(1); }), "MANIFEST_MALFORMED");
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->clear_expire_time(); }), "MANIFEST_MALFORMED");
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->mutable_expire_time()->set_seconds(1LL << 62); }), "MANIFEST_MALFORMED");
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->mutable_create_time()->set_nanos(-1); }), "MANIFEST_MALFORMED");
  for (const char* supersedes : {"tasks/t", "tasks/", "old", "tasks/a/b", "tasks/A", "tasks/../t"}) {
    EXPECT_EQ(ReasonWith([&](Manifest* m) { m->set_supersedes(supersedes); }), "MANIFEST_MALFORMED") << supersedes;
  }
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->set_supersedes("tasks/old-1"); }), "");
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->set_supersedes("tasks/" + std::string(33, 'x')); }), "MANIFEST_MALFORMED");
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->set_size(2); }), "MANIFEST_DIGEST");
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->set_digest(std::string(32, 'd')); }), "MANIFEST_DIGEST");
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->mutable_files(0)->set_mode(0600); }), "MANIFEST_DIGEST");
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->mutable_files(0)->set_path("../a"); }), "PATH_ESCAPES");
  EXPECT_EQ(ReasonWith([](Manifest* m) { m->clear_files(); }), "PAYLOAD_EMPTY");
}

}  // namespace
}  // namespace parley::payload
