#include "services/taskd/domain/counts.h"

#include <gtest/gtest.h>

namespace parley::taskd {
namespace {

using task::v1::Counts;
using task::v1::Participant;

Counts One(Participant::State state, int64_t revision, int64_t task_revision,
           Participant::State lost = Participant::STATE_UNSPECIFIED, bool hindered = false) {
  Tally tally;
  Count({state, state == Participant::STATE_LOST ? lost : state, hindered, revision}, task_revision, 1, &tally);
  return tally.counts;
}

Counts Hindered(Participant::State state, int64_t revision, int64_t task_revision) {
  return One(state, revision, task_revision, Participant::STATE_UNSPECIFIED, true);
}

TEST(Counts, PutEveryClientIntoOnePlace) {
  for (int i = 1; i <= Participant::State_MAX; ++i) {
    const Counts c = One(static_cast<Participant::State>(i), 1, 1);
    EXPECT_EQ(c.joined(), 1) << i;
    EXPECT_EQ(c.waiting() + c.working() + c.up_to_date() + c.confirmed() + c.deferred() + c.declined() +
                  c.ineligible() + c.rolled_back() + c.rollback_failed() + c.timed_out() + c.canceled() + c.lost() +
                  c.hindered(),
              1)
        << i;
  }
}

TEST(Counts, TellFailuresThatAreBorneFromOthers) {
  for (const auto state : {Participant::STATE_ROLLED_BACK, Participant::STATE_ROLLBACK_FAILED}) {
    Tally tally;
    const Counted client{.state = state, .revision = 1, .borne = true};
    Count(client, 1, 1, &tally);
    EXPECT_EQ(tally.borne, 1);
    EXPECT_EQ(Failures(tally.counts), 1);
    Count(client, 1, -1, &tally);
    EXPECT_EQ(tally.borne, 0);
    Count(client, 2, 1, &tally);
    EXPECT_EQ(tally.borne, 0) << "of an older revision";
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
  EXPECT_EQ(Settled(One(Participant::STATE_DECLINED, 1, 1)), 1);
  EXPECT_EQ(Settled(One(Participant::STATE_DEFERRED, 1, 1)), 0);
}

TEST(Counts, OfClientsThatAreAwayAreFailuresAtTheEndOnly) {
  const Counts away = One(Participant::STATE_TIMED_OUT, 1, 1);
  EXPECT_EQ(Failures(away), 0);
  EXPECT_EQ(FailuresAtEnd(away), 1);
  EXPECT_EQ(Settled(away), 0);
}

TEST(Counts, OfHinderedClientsAreNeitherFailedNorSettled) {
  for (const auto state : {Participant::STATE_INELIGIBLE, Participant::STATE_ROLLED_BACK}) {
    const Counts hindered = Hindered(state, 1, 1);
    EXPECT_EQ(hindered.hindered(), 1);
    EXPECT_EQ(hindered.ineligible() + hindered.rolled_back(), 0);
    EXPECT_EQ(FailuresAtEnd(hindered), 0);
    EXPECT_EQ(Settled(hindered), 0);
    EXPECT_EQ(Settled(One(state, 1, 1)), 1);
    EXPECT_EQ(Hindered(state, 1, 2).waiting(), 1);
  }
}

}  // namespace
}  // namespace parley::taskd
