// What somebody can do who writes to the disk: cut, flip, swap, downgrade.
#include "lib/device/seal.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace parley::device {
namespace {

// Not derived: what is sealed does not depend on where its key comes from.
Secret AnyKey(char letter) { return Secret::CopyOf(std::string(kFileKeyBytes, letter)); }

class Seal : public testing::Test {
 protected:
  const KeyParameters parameters_ = NewKeyParameters();
  const Secret key_ = AnyKey('k');
  const std::string file_ = SealFile(key_, parameters_, Secret::CopyOf("what is kept"));

  std::string Refusal(absl::string_view file) const { return Reason(OpenFile(key_, file).status()); }
};

TEST_F(Seal, OpensWithItsKeyAndShowsNothing) {
  const absl::StatusOr<Secret> opened = OpenFile(key_, file_);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->Expose(), "what is kept");
  EXPECT_FALSE(absl::StrContains(file_, "what is kept"));
  EXPECT_NE(SealFile(key_, parameters_, Secret::CopyOf("what is kept")), file_);
}

TEST_F(Seal, RefusesAnotherKey) { EXPECT_EQ(Reason(OpenFile(AnyKey('K'), file_).status()), "DEVICE_FILE_PASSWORD"); }

TEST_F(Seal, RefusesEachLength) {
  for (size_t size = 0; size < file_.size(); ++size) EXPECT_FALSE(OpenFile(key_, file_.substr(0, size)).ok()) << size;
  EXPECT_EQ(Refusal(""), "DEVICE_FILE_NOT_ONE");
  EXPECT_EQ(Refusal(file_.substr(0, kFileHeaderBytes)), "DEVICE_FILE_DAMAGED");
  EXPECT_EQ(Refusal(file_.substr(0, file_.size() - 1)), "DEVICE_FILE_PASSWORD");
  EXPECT_EQ(Refusal(file_ + "x"), "DEVICE_FILE_PASSWORD");
}

TEST_F(Seal, RefusesEachFlippedBit) {
  for (size_t bit = 0; bit < file_.size() * 8; ++bit) {
    std::string flipped = file_;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    EXPECT_FALSE(OpenFile(key_, flipped).ok()) << bit;
  }
}

TEST_F(Seal, RefusesAHeaderOfAnotherFile) {
  const std::string other = SealFile(key_, NewKeyParameters(), Secret::CopyOf("other"));
  EXPECT_EQ(Refusal(absl::StrCat(other.substr(0, kFileHeaderBytes), file_.substr(kFileHeaderBytes))),
            "DEVICE_FILE_PASSWORD");
}

TEST_F(Seal, RefusesParametersThatAreWeakerOrAbsurd) {
  for (const auto& [memory_kib, passes, lanes] :
       {std::tuple(128u * 1024 - 1, 3u, 1u), std::tuple(8u, 3u, 1u), std::tuple(128u * 1024, 2u, 1u),
        std::tuple(128u * 1024, 3u, 0u), std::tuple(4u * 1024 * 1024, 3u, 1u), std::tuple(128u * 1024, 1000000u, 1u),
        std::tuple(128u * 1024, 3u, 100u)}) {
    const KeyParameters changed = {memory_kib, passes, lanes, parameters_.salt};
    // Even by one who knows the key.
    EXPECT_EQ(Refusal(SealFile(key_, changed, Secret::CopyOf("x"))), "DEVICE_FILE_PARAMETERS") << memory_kib << passes;
  }
}

TEST_F(Seal, NamesWhatIsNotADeviceFileAndWhatIsNewer) {
  EXPECT_EQ(Refusal("prc1.AAAA"), "DEVICE_FILE_NOT_ONE");
  std::string newer = file_;
  newer[3] = '2';
  EXPECT_EQ(Refusal(newer), "DEVICE_FILE_VERSION");
}

// Made by Debian's argon2 program: `printf 'correct horse' | argon2 saltsaltsaltsalt -id -t 3 -k 131072 -p 1 -l 32 -r`.
TEST(FileKey, IsArgon2idAsOthersComputeIt) {
  const KeyParameters parameters = {128 * 1024, 3, 1, "saltsaltsaltsalt"};
  const absl::StatusOr<Secret> key = DeriveFileKey(Secret::CopyOf("correct horse"), parameters);
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(HexEncode(key->Expose()), "32b2ca8b68a89d163cb8e7de3d7de6569229afe3c1b849ac728b4d44a9e3f073");
}

}  // namespace
}  // namespace parley::device
