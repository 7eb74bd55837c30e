#include "lib/device/contents.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"
#include "lib/device/testing.h"

namespace parley::device {
namespace {

TEST(Contents, ComeBackAsTheyWere) {
  const Contents before = ExampleContents();
  const absl::StatusOr<Contents> after = ParseContents(FormatContents(before));
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_TRUE(after->enrolled());
  EXPECT_EQ(after->organisation, "example");
  EXPECT_EQ(after->user_name, "alice");
  EXPECT_EQ(after->role, access::v1::ROLE_ADMIN);
  EXPECT_TRUE(after->signing_seed == before.signing_seed);
  EXPECT_EQ(after->credential->keys.size(), 1u);
  EXPECT_EQ(after->head.sequence, 7);
  ASSERT_EQ(after->enrolments.count("invitations/00"), 1u);
  const Enrolment& enrolment = after->enrolments.at("invitations/00");
  EXPECT_EQ(enrolment.role, sas::Role::kClaimer);
  EXPECT_EQ(enrolment.attempts.last, 3u);
  EXPECT_EQ(enrolment.attempts.suspected, 2u);
  EXPECT_TRUE(enrolment.attempts.unseen);
  EXPECT_EQ(enrolment.certificates, (std::vector<std::string>{"one", "two"}));
  EXPECT_TRUE(FormatContents(*after) == FormatContents(before));
}

TEST(Contents, OfAnInterruptedClaimAreNotEnrolled) {
  Contents contents = ExampleContents();
  contents.credential.reset();
  EXPECT_FALSE(contents.enrolled());
  contents = ExampleContents();
  contents.root_key.clear();
  EXPECT_FALSE(contents.enrolled());
}

TEST(Contents, OfAnotherShapeAreRefused) {
  const auto refused = [](Contents contents) {
    return Reason(ParseContents(FormatContents(contents)).status()) == "DEVICE_FILE_DAMAGED";
  };
  Contents contents = ExampleContents();
  contents.root_key.pop_back();
  EXPECT_TRUE(refused(std::move(contents)));
  contents = ExampleContents();
  contents.user_id = "alice";
  EXPECT_TRUE(refused(std::move(contents)));
  contents = ExampleContents();
  contents.signing_seed = Secret::CopyOf("short");
  EXPECT_TRUE(refused(std::move(contents)));
  contents = ExampleContents();
  contents.head.hash.clear();
  EXPECT_TRUE(refused(std::move(contents)));
  contents = ExampleContents();
  contents.enrolments.begin()->second.role = static_cast<sas::Role>(3);
  EXPECT_TRUE(refused(std::move(contents)));
  EXPECT_EQ(Reason(ParseContents(Secret::CopyOf("\xff\xff")).status()), "DEVICE_FILE_DAMAGED");
}

}  // namespace
}  // namespace parley::device
