#include "services/taskd/domain/selection.h"

#include <gtest/gtest.h>

#include <memory>

#include "services/taskd/domain/participant_testing.h"

namespace parley::taskd {
namespace {

using task::v1::LabelValues;

Labels Of(const std::vector<std::pair<std::string, std::string>>& pairs) { return {pairs.begin(), pairs.end()}; }

TEST(Selection, TakesOnlyADeviceThatHasAllThatIsAskedFor) {
  Labels web = Of({{"role", "web"}, {"site", "b"}});
  const auto selects = [](const Task& task, const Labels& labels) {
    return Select(task, &labels, Labels()) == Selected::kYes;
  };
  Task task;
  EXPECT_FALSE(selects(task, web)) << "no selector takes nobody";
  (*task.mutable_selector())["role"] = "web";
  EXPECT_TRUE(selects(task, web));
  EXPECT_FALSE(selects(task, Labels()));
  LabelValues& sites = (*task.mutable_selector_any())["site"];
  sites.add_values("a");
  EXPECT_FALSE(selects(task, web));
  sites.add_values("b");
  EXPECT_TRUE(selects(task, web));
  task.clear_selector();
  EXPECT_TRUE(selects(task, web));
  web.erase("site");
  EXPECT_FALSE(selects(task, web));
}

TEST(Selection, LooksAtFactsOnlyWhereItSaysSo) {
  const Labels labels = Of({{"role", "web"}}), facts = Of({{"os", "debian"}, {"role", "db"}, {"fact:x", "1"}});
  const auto selects = [&](const std::string& key, const std::string& value) {
    Task one, any;
    (*one.mutable_selector())[key] = value;
    (*any.mutable_selector_any())[key].add_values("other");
    any.mutable_selector_any()->at(key).add_values(value);
    EXPECT_EQ(Select(one, &labels, facts), Select(any, &labels, facts));
    return Select(one, &labels, facts) == Selected::kYes;
  };
  EXPECT_TRUE(selects("role", "web"));
  EXPECT_FALSE(selects("role", "db")) << "a device that claims to be a database";
  EXPECT_FALSE(selects("os", "debian"));
  EXPECT_TRUE(selects("fact:os", "debian"));
  EXPECT_FALSE(selects("fact:os", "ubuntu"));
  EXPECT_FALSE(selects("fact:role", "web"));
  EXPECT_FALSE(selects("fact:x", "1"));
}

TEST(Selection, IsUnknownWhileTheLabelsAre) {
  Task task;
  (*task.mutable_selector())["fact:os"] = "debian";
  EXPECT_EQ(Select(task, nullptr, Of({{"os", "debian"}})), Selected::kUnknown);
}

TEST(Selection, IsNoQuestionForAClientThatHasAJoinKey) {
  ParticipantRecord record = MakeRecord(Participant::STATE_JOINED);
  EXPECT_EQ(Select(record, Task(), nullptr), Selected::kYes);
  record.set_own_credential(true);
  EXPECT_EQ(Select(record, Task(), nullptr), Selected::kUnknown);
  const Labels none;
  EXPECT_EQ(Select(record, Task(), &none), Selected::kNo);
}

TEST(Selection, WhatEarlierClientsCallLabelsAreFacts) {
  const Labels facts = FactsOf(Of({{"os", "linux"}}), Of({{"os", "claimed"}, {"site", "berlin"}}));
  EXPECT_EQ(keys::ShowLabels(facts), "os=linux, site=berlin");
}

// A device's part in a task that selects role=web, from its declaration on.
class DeviceInTask : public testing::Test {
 protected:
  DeviceInTask() {
    (*task_.mutable_task()->mutable_selector())["role"] = "web";
    web_["role"] = "web";
    db_["role"] = "db";
  }
  static ParticipantRecord In(ParticipantState state) {
    ParticipantRecord record = MakeRecord(state);
    record.set_own_credential(true);
    return record;
  }
  Result Send(const ParticipantRecord& record, const NegotiateRequest& request, const Labels* labels) {
    Event event{Event::Kind::kRequest};
    event.request = &request;
    event.connection = kConnection;
    if (labels != nullptr) event.labels = std::make_shared<const Labels>(*labels);
    return Advance(record, event, task_, kNow);
  }
  Result Declare(const ParticipantRecord& record, const Labels* labels, Declaration declaration = MakeDeclaration()) {
    NegotiateRequest request = Message(record);
    *request.mutable_declare() = std::move(declaration);
    return Send(record, request, labels);
  }
  Result Accept(const ParticipantRecord& record, const Labels* labels) {
    NegotiateRequest request = Message(record);
    request.mutable_accept();
    return Send(record, request, labels);
  }
  Result LabelsChange(const ParticipantRecord& record, const Labels* labels) {
    Event event{Event::Kind::kOfferDue};
    if (labels != nullptr) event.labels = std::make_shared<const Labels>(*labels);
    return Advance(record, event, task_, kNow);
  }
  // The state and the reason after it.
  static std::string After(const ParticipantRecord& record, const Result& result) {
    EXPECT_TRUE(result.ok()) << result.status();
    const Participant& after = result->has_value() ? (**result).participant() : record.participant();
    return Name(after.state()) + (after.reason().empty() ? "" : " " + after.reason());
  }

  TaskRecord task_ = MakeTask();
  Labels web_, db_;
};

TEST_F(DeviceInTask, IsOfferedNothingThatItsLabelsDoNotSelect) {
  const ParticipantRecord joined = In(Participant::STATE_JOINED);
  Declaration claims = MakeDeclaration();
  (*claims.mutable_labels())["role"] = "web";
  (*claims.mutable_facts())["role"] = "web";
  const Result refused = Declare(joined, &db_, claims);
  EXPECT_EQ(After(joined, refused), "INELIGIBLE not_selected");
  EXPECT_EQ(keys::ShowLabels((**refused).participant().labels()), "role=db");
  EXPECT_EQ((**refused).participant().facts().at("role"), "web");
  EXPECT_EQ(After(joined, Declare(joined, &web_)), "OFFERED");
  EXPECT_EQ(After(joined, Declare(joined, nullptr, claims)), "QUEUED labels_unknown");
}

TEST_F(DeviceInTask, IsTakenOutUntilItBeginsToApply) {
  for (const ParticipantState state :
       {Participant::STATE_QUEUED, Participant::STATE_OFFERED, Participant::STATE_ACCEPTED,
        Participant::STATE_TRANSFERRING, Participant::STATE_STAGED}) {
    const ParticipantRecord record = In(state);
    EXPECT_EQ(After(record, LabelsChange(record, &db_)), "INELIGIBLE not_selected") << Name(state);
    EXPECT_EQ(After(record, Declare(record, &db_)), "INELIGIBLE not_selected") << Name(state);
  }
  for (const ParticipantState state :
       {Participant::STATE_APPLYING, Participant::STATE_CHECKING, Participant::STATE_CONFIRMED,
        Participant::STATE_UP_TO_DATE, Participant::STATE_ROLLED_BACK, Participant::STATE_ROLLBACK_FAILED}) {
    const ParticipantRecord record = In(state);
    EXPECT_EQ(After(record, LabelsChange(record, &db_)), Name(state));
  }
}

TEST_F(DeviceInTask, CannotAcceptOrReportAfterItsLabelsWent) {
  const ParticipantRecord offered = In(Participant::STATE_OFFERED);
  EXPECT_EQ(After(offered, Accept(offered, &web_)), "ACCEPTED");
  EXPECT_EQ(After(offered, Accept(offered, &db_)), "INELIGIBLE not_selected");
  EXPECT_EQ(After(offered, Accept(offered, nullptr)), "QUEUED labels_unknown");
  EXPECT_EQ(After(offered, Declare(offered, nullptr)), "QUEUED labels_unknown") << "the answer would carry the offer";
  const ParticipantRecord transferring = In(Participant::STATE_TRANSFERRING);
  EXPECT_EQ(After(transferring, Send(transferring, Report(transferring, Participant::STATE_STAGED), &db_)),
            "INELIGIBLE not_selected");
  const ParticipantRecord applying = In(Participant::STATE_APPLYING);
  EXPECT_EQ(After(applying, Send(applying, Report(applying, Participant::STATE_CHECKING), &db_)), "CHECKING");
}

TEST_F(DeviceInTask, ComesBackWhenItsLabelsDo) {
  const ParticipantRecord queued = In(Participant::STATE_QUEUED);
  const ParticipantRecord out = **LabelsChange(queued, &db_);
  EXPECT_EQ(After(out, LabelsChange(out, &db_)), "INELIGIBLE not_selected");
  EXPECT_EQ(After(out, LabelsChange(out, nullptr)), "INELIGIBLE not_selected");
  EXPECT_EQ(After(out, LabelsChange(out, &web_)), "OFFERED");
  const ParticipantRecord unknown = **Declare(In(Participant::STATE_JOINED), nullptr);
  EXPECT_EQ(After(unknown, LabelsChange(unknown, &web_)), "OFFERED");
}

TEST_F(DeviceInTask, ANewRevisionIsForThoseThatAreSelectedThen) {
  task_ = MakeTask(Task::STATE_OPEN, 2);
  (*task_.mutable_task()->mutable_selector())["role"] = "web";
  const ParticipantRecord confirmed = In(Participant::STATE_CONFIRMED);
  EXPECT_EQ(After(confirmed, LabelsChange(confirmed, &db_)), "INELIGIBLE not_selected");
  EXPECT_EQ(After(confirmed, LabelsChange(confirmed, &web_)), "OFFERED");
}

TEST_F(DeviceInTask, FactsAreLookedAtAsTheyAreDeclared) {
  (*task_.mutable_task()->mutable_selector())["fact:os"] = "linux";
  const ParticipantRecord offered = In(Participant::STATE_OFFERED);
  EXPECT_EQ(After(offered, Declare(offered, &web_)), "OFFERED");
  Declaration other = MakeDeclaration();
  (*other.mutable_facts())["os"] = "bsd";
  EXPECT_EQ(After(offered, Declare(offered, &web_, other)), "INELIGIBLE not_selected");
}

// The commands of a client see its labels.
TEST_F(DeviceInTask, AFailureIsTriedAgainWhenItsLabelsHaveChanged) {
  ParticipantRecord applying = **Declare(In(Participant::STATE_JOINED), &web_);
  applying.mutable_participant()->set_state(Participant::STATE_APPLYING);
  const ParticipantRecord failed = **Send(applying, Report(applying, Participant::STATE_ROLLED_BACK), &web_);
  EXPECT_EQ(After(failed, Declare(failed, &web_)), "ROLLED_BACK");
  Labels other = web_;
  other["site"] = "berlin";
  EXPECT_EQ(After(failed, Declare(failed, &other)), "OFFERED");
}

TEST_F(DeviceInTask, AClientWithAJoinKeyHasNoLabels) {
  ParticipantRecord member = MakeRecord(Participant::STATE_JOINED);
  (*member.mutable_participant()->mutable_labels())["role"] = "claimed before";
  const Result declared = Declare(member, &web_);
  EXPECT_EQ(After(member, declared), "OFFERED");
  EXPECT_TRUE((**declared).participant().labels().empty());
}

}  // namespace
}  // namespace parley::taskd
