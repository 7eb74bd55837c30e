#include "services/taskd/domain/counts.h"

#include <gtest/gtest.h>

namespace parley::taskd {
namespace {

using task::v1::Counts;
using task::v1::Participant;

Counts One(Participant::State state, int64_t revision, int64_t task_revision,
           Participant::State lost = Participant::STATE_UNSPECIFIED) {
  Counts counts;
  Count(state, lost, revision, task_revision, 1, &counts);
  return counts;
}

TEST(Counts, PutEveryClientIntoOnePlace) {
  for (int i = 1; i <= Participant::State_MAX; ++i) {
    const Counts c = One(static_cast<Participant::State>(i), 1, 1);
    EXPECT_EQ(c.joined(), 1) << i;
    EXPECT_EQ(c.waiting() + c.working() + c.up_to_date() + c.confirmed() + c.deferred() + c.declined() +
                  c.ineligible() + c.rolled_back() + c.rollback_failed() + c.timed_out() + c.canceled() + c.lost(),
              1)
        << i;
  }
}

TEST(Counts, OfAnOlderRevisionWaitUnlessTheyApply) {
  EXPECT_EQ(One(Participant::STATE_CONFIRMED, 1, 2).waiting(), 1);
  EXPECT_EQ(One(Participant::STATE_ROLLED_BACK, 1, 2).waiting(), 1);
  EXPECT_EQ(One(Participant::STATE_APPLYING, 1, 2).working(), 1);
  EXPECT_EQ(One(Participant::STATE_LOST, 1, 2, Participant::STATE_APPLYING).lost(), 1);
  EXPECT_EQ(One(Participant::STATE_CANCELED, 1, 2).canceled(), 1);
}

TEST(Counts, KeepRefusalsApartFromFailures) {
  EXPECT_EQ(Failures(One(Participant::STATE_DECLINED, 1, 1)), 0);
  EXPECT_EQ(Failures(One(Participant::STATE_DEFERRED, 1, 1)), 0);
  EXPECT_EQ(Failures(One(Participant::STATE_TIMED_OUT, 1, 1)), 1);
  EXPECT_EQ(Ended(One(Participant::STATE_DECLINED, 1, 1)), 1);
  EXPECT_EQ(Ended(One(Participant::STATE_DEFERRED, 1, 1)), 0);
}

}  // namespace
}  // namespace parley::taskd
