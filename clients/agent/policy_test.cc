#include "clients/agent/policy.h"

#include "gtest/gtest.h"

namespace parley::agent {
namespace {

using Kind = Answer::Kind;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

OfferTerms Terms() { return {.deadline = kNow + absl::Hours(24), .deferrals_left = 3}; }

TEST(Policy, AcceptsByDefault) { EXPECT_EQ(AnswerTo({}, Terms(), kNow).kind, Kind::kAccept); }

TEST(Policy, DeclinesWhatMayBeDeclined) {
  Policy policy;
  policy.decline = "frozen until Monday";
  EXPECT_EQ(AnswerTo(policy, Terms(), kNow).kind, Kind::kDecline);
  EXPECT_EQ(AnswerTo(policy, Terms(), kNow).reason, "frozen until Monday");
  OfferTerms forced = Terms();
  forced.forced = true;
  EXPECT_EQ(AnswerTo(policy, forced, kNow).kind, Kind::kRefuseForced);
}

TEST(Policy, DefersWhileItMay) {
  Policy policy;
  policy.defer_until = kNow + absl::Hours(2);
  Answer answer = AnswerTo(policy, Terms(), kNow);
  EXPECT_EQ(answer.kind, Kind::kDefer);
  EXPECT_EQ(answer.until, policy.defer_until);
  EXPECT_EQ(AnswerTo(policy, Terms(), policy.defer_until).kind, Kind::kAccept);
  OfferTerms terms = Terms();
  terms.deferrals_left = 0;
  EXPECT_EQ(AnswerTo(policy, terms, kNow).kind, Kind::kDecline);
  terms.forced = true;
  EXPECT_EQ(AnswerTo(policy, terms, kNow).kind, Kind::kAccept);
  terms = Terms();
  terms.deadline = kNow + absl::Hours(1);
  EXPECT_EQ(AnswerTo(policy, terms, kNow).kind, Kind::kDecline);
}

TEST(Policy, AsksForItsNextWindow) {
  Policy policy;
  policy.windows = {{kNow + absl::Hours(5), kNow + absl::Hours(6)},
                    {kNow - absl::Hours(2), kNow - absl::Hours(1)},
                    {kNow + absl::Hours(1), kNow + absl::Hours(2)}};
  Answer answer = AnswerTo(policy, Terms(), kNow);
  EXPECT_EQ(answer.kind, Kind::kCounter);
  EXPECT_EQ(answer.window.start, kNow + absl::Hours(1));
  EXPECT_EQ(AnswerTo(policy, Terms(), kNow + absl::Minutes(90)).kind, Kind::kAccept);
  OfferTerms terms = Terms();
  terms.counter_refused = true;
  answer = AnswerTo(policy, terms, kNow);
  EXPECT_EQ(answer.kind, Kind::kDefer);
  EXPECT_EQ(answer.until, kNow + absl::Hours(1));
  terms.has_window = true;
  EXPECT_EQ(AnswerTo(policy, terms, kNow).kind, Kind::kAccept);
  EXPECT_EQ(AnswerTo(policy, Terms(), kNow + absl::Hours(7)).kind, Kind::kDecline);
}

}  // namespace
}  // namespace parley::agent
