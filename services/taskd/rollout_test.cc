// Roll-outs in waves, through the whole server: who is offered a revision, when, and who never.
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

using task::v1::CreateTaskResponse;
using task::v1::Rollout;

class RolloutTest : public TaskdTest {
 protected:
  // A client with its stream. It has declared.
  struct Machine {
    JoinedClient member;
    std::unique_ptr<TaskdTestClient> client;
    std::unique_ptr<TestNegotiation> negotiation;
  };

  // "1,10%,all", numbers and shares only.
  static Rollout Waves(absl::string_view text) {
    Rollout rollout;
    for (const absl::string_view wave : absl::StrSplit(text, ',')) {
      if (wave == "all") {
        rollout.add_waves()->set_percent(100);
      } else if (wave.back() == '%') {
        rollout.add_waves()->set_percent(std::stoi(std::string(wave)));
      } else {
        rollout.add_waves()->set_count(std::stoi(std::string(wave)));
      }
    }
    return rollout;
  }

  CreateTaskResponse CreateWith(const Rollout& rollout) {
    task::v1::CreateTaskRequest request = NewLongTask("site");
    *request.mutable_rollout() = rollout;
    const auto task = Create(request);
    EXPECT_TRUE(task.ok()) << task.status();
    return task.value_or(CreateTaskResponse());
  }

  Machine& Add(const CreateTaskResponse& task, const std::string& name) {
    Machine& machine = machines_[name];
    machine.member = Join(task, name);
    Declare(&machine);
    return machine;
  }
  void AddMany(const CreateTaskResponse& task, int count) {
    for (int i = 0; i < count; ++i) Add(task, absl::StrCat("web-", machines_.size()));
  }
  void Declare(Machine* machine) {
    machine->negotiation.reset();
    machine->client = Connect(machine->member.key);
    machine->negotiation = std::make_unique<TestNegotiation>(machine->client.get(), machine->member.task);
    machine->negotiation->Declare();
  }

  // The clients whom the revision on offer has reached, by asking the server.
  std::set<std::string> Reached(const std::string& task) {
    std::set<std::string> reached;
    for (const auto& [name, machine] : machines_) {
      const Participant participant = GetParticipant(task, name);
      if (participant.attempt() > 0 && participant.revision() == Get(task).revision()) reached.insert(name);
    }
    return reached;
  }
  // Waits until so many waves are open and so many clients were offered the revision: between these are commits only.
  std::set<std::string> WaitForWave(const std::string& task, int waves, size_t clients) {
    while (Get(task).rollout_status().open_waves_size() < waves) {
    }
    std::set<std::string> reached;
    do {
      reached = Reached(task);
    } while (reached.size() < clients);
    return reached;
  }
  void ConfirmAll(const Task& task, const std::set<std::string>& names) {
    for (const std::string& name : names) {
      Machine& machine = machines_[name];
      if (GetParticipant(task.name(), name).state() == Participant::STATE_CONFIRMED) continue;
      Declare(&machine);
      ASSERT_EQ(machine.negotiation->Apply().state(), Participant::STATE_CHECKING) << name;
      const auto fresh = Connect(machine.member.key);
      ASSERT_TRUE(Confirm(fresh.get(), task.name(), task.payload_digest()).ok()) << name;
    }
  }
  absl::StatusOr<Task> Advance(const std::string& task, int wave = 0, bool now = false,
                               TaskdTestClient* caller = nullptr) {
    task::v1::AdvanceTaskRequest request;
    request.set_name(task);
    request.set_wave(wave);
    request.set_now(now);
    TaskdTestClient& client = caller == nullptr ? op() : *caller;
    return client.Call(&client.tasks(), &TaskService::Stub::AdvanceTask, request);
  }

  std::map<std::string, Machine> machines_;
};

TEST_F(RolloutTest, ReachesOneMachineWithABrokenSet) {
  const CreateTaskResponse created = CreateWith(Waves("1,10%,all"));
  const std::string task = created.task().name();
  AddMany(created, 20);
  const std::set<std::string> first = WaitForWave(task, 1, 1);
  ASSERT_EQ(first.size(), 1u);
  for (const auto& [name, machine] : machines_) {
    const Participant participant = GetParticipant(task, name);
    EXPECT_EQ(participant.wave(), first.count(name) == 1 ? 1 : 0);
    if (first.count(name) == 0) EXPECT_EQ(participant.reason(), "next_wave");
  }
  Declare(&machines_[*first.begin()]);
  machines_[*first.begin()].negotiation->FailTheCheck();
  WaitForTask(task, Task::STATE_HALTED);
  EXPECT_EQ(Get(task).state_reason(), "1 of 1 client of the open waves failed, over the limit of 0");
  // Whatever the others do.
  for (auto& [name, machine] : machines_) {
    if (first.count(name) == 0) Declare(&machine);
  }
  AddMany(created, 3);
  EXPECT_EQ(Reached(task), first);
  EXPECT_EQ(Reason(Advance(task).status()), "TASK_NOT_OPEN");

  // Another revision begins anew, in the order of the hash.
  ASSERT_TRUE(Publish(task, "mended").ok());
  const std::set<std::string> again = WaitForWave(task, 1, 1);
  EXPECT_EQ(again.size(), 1u);
  ConfirmAll(Get(task), again);
  // A tenth of 23, rounded up.
  const std::set<std::string> second = WaitForWave(task, 2, 3);
  EXPECT_EQ(second.size(), 3u);
  EXPECT_EQ(second.count(*again.begin()), 1u);
  ConfirmAll(Get(task), second);
  EXPECT_EQ(WaitForWave(task, 3, machines_.size()).size(), machines_.size());
}

TEST_F(RolloutTest, LeavesThoseWhoComeLateToTheLastWave) {
  const CreateTaskResponse created = CreateWith(Waves("2,50%,all"));
  const std::string task = created.task().name();
  AddMany(created, 2);
  const std::set<std::string> first = WaitForWave(task, 1, 2);
  // 40 of whom half would come before those of the first wave in the order.
  AddMany(created, 40);
  EXPECT_EQ(Reached(task), first);
  ConfirmAll(Get(task), first);
  const std::set<std::string> second = WaitForWave(task, 2, 21);
  EXPECT_EQ(second.size(), 21u);
  AddMany(created, 10);
  EXPECT_EQ(Reached(task), second);
}

TEST_F(RolloutTest, GoesOnWhereItWasAfterAKill) {
  const CreateTaskResponse created = CreateWith(Waves("3,10,all"));
  const std::string task = created.task().name();
  AddMany(created, 2);
  EXPECT_EQ(Get(task).rollout_status().phase(), task::v1::RolloutStatus::PHASE_WAITING_FOR_CLIENTS);
  EXPECT_EQ(Get(task).rollout_status().detail(), "wave 1 waits for 1 more client to join");
  AddMany(created, 18);
  const std::set<std::string> first = WaitForWave(task, 1, 3);
  Restart();
  for (auto& [name, machine] : machines_) Declare(&machine);
  EXPECT_EQ(Reached(task), first);
  ConfirmAll(Get(task), first);
  while (Get(task).rollout_status().open_waves_size() < 2) {
  }
  Restart();
  for (auto& [name, machine] : machines_) {
    if (first.count(name) == 0) Declare(&machine);
  }
  const std::set<std::string> second = WaitForWave(task, 2, 10);
  EXPECT_EQ(second.size(), 10u);
  EXPECT_TRUE(std::includes(second.begin(), second.end(), first.begin(), first.end()));
  for (const std::string& name : first) EXPECT_EQ(GetParticipant(task, name).attempt(), 1);
}

TEST_F(RolloutTest, TouchesTheClientsOfAWaveOnly) {
  const CreateTaskResponse created = CreateWith(Waves("1,2,all"));
  const std::string task = created.task().name();
  AddMany(created, 20);
  const std::set<std::string> first = WaitForWave(task, 1, 1);
  std::map<std::string, int64_t> versions;
  for (const auto& [name, machine] : machines_) versions[name] = GetParticipant(task, name).version();
  ConfirmAll(Get(task), first);
  const std::set<std::string> second = WaitForWave(task, 2, 2);
  for (const auto& [name, machine] : machines_) {
    if (second.count(name) == 0) EXPECT_EQ(GetParticipant(task, name).version(), versions[name]) << name;
  }
}

TEST_F(RolloutTest, WaitsForTheTimeToSoakAndForPeople) {
  Rollout rollout = Waves("1,all");
  *rollout.mutable_gate()->mutable_soak() = ToProto(absl::Minutes(10));
  rollout.mutable_gate()->set_approvals(2);
  const CreateTaskResponse created = CreateWith(rollout);
  const std::string task = created.task().name();
  AddMany(created, 3);
  const auto kim = Connect(access::v1::ROLE_OPERATOR, "kim"), lee = Connect(access::v1::ROLE_ADMIN, "lee");
  EXPECT_EQ(Reason(Advance(task).status()), "AUTHOR_MAY_NOT_APPROVE");
  ASSERT_TRUE(Advance(task, 2, false, kim.get()).ok());
  ASSERT_TRUE(Advance(task, 2, false, kim.get()).ok());
  ASSERT_TRUE(Advance(task, 2, false, lee.get()).ok());
  EXPECT_EQ(Get(task).rollout_status().approvers_size(), 2);
  ConfirmAll(Get(task), WaitForWave(task, 1, 1));
  while (Get(task).rollout_status().phase() != task::v1::RolloutStatus::PHASE_SOAKING) {
  }
  clock_.Advance(absl::Minutes(9));
  EXPECT_EQ(Get(task).rollout_status().phase(), task::v1::RolloutStatus::PHASE_SOAKING);
  EXPECT_EQ(Reached(task).size(), 1u);
  clock_.Advance(absl::Minutes(2));
  EXPECT_EQ(WaitForWave(task, 2, 3).size(), 3u);
  EXPECT_EQ(Get(task).rollout_status().phase(), task::v1::RolloutStatus::PHASE_ALL_OPEN);
}

TEST_F(RolloutTest, IsAdvancedByAnOperatorWaveByWave) {
  const CreateTaskResponse created = CreateWith(Waves("1,2,all"));
  const std::string task = created.task().name();
  EXPECT_EQ(Reason(Advance(task).status()), "NO_CLIENTS");
  AddMany(created, 5);
  WaitForWave(task, 1, 1);
  EXPECT_EQ(Reason(Advance(task, 3).status()), "OTHER_WAVE");
  EXPECT_EQ(Reason(Advance(task, -1).status()), "NUMBER_NEGATIVE");
  ASSERT_TRUE(Advance(task, 2).ok());
  EXPECT_EQ(WaitForWave(task, 2, 2).size(), 2u);
  EXPECT_EQ(Get(task).rollout_status().open_waves(1).opener(), "olga");
  // What is repeated opens no other one.
  EXPECT_EQ(Reason(Advance(task, 2).status()), "OTHER_WAVE");
  EXPECT_EQ(Reached(task).size(), 2u);
}

TEST_F(RolloutTest, BearsFailuresOnceItIsResumed) {
  Rollout rollout = Waves("2,all");
  rollout.set_on_failure(Rollout::ON_FAILURE_PAUSE);
  const CreateTaskResponse created = CreateWith(rollout);
  const std::string task = created.task().name();
  AddMany(created, 4);
  const std::set<std::string> first = WaitForWave(task, 1, 2);
  Machine& failing = machines_[*first.begin()];
  Declare(&failing);
  failing.negotiation->FailTheCheck();
  WaitForTask(task, Task::STATE_PAUSED);
  ASSERT_TRUE(Resume(task).ok());
  EXPECT_EQ(Get(task).state(), Task::STATE_OPEN);
  EXPECT_EQ(Get(task).state_reason(), "");
  ConfirmAll(Get(task), {*first.rbegin()});
  EXPECT_EQ(Get(task).rollout_status().detail(),
            "1 of 2 clients of the open waves have the revision; the gate asks for 100 %");
  ASSERT_TRUE(Advance(task, 2).ok());
  EXPECT_EQ(WaitForWave(task, 2, 4).size(), 4u);
}

TEST_F(RolloutTest, FollowsLabelsOfOperatorsAndNotWhatADeviceSays) {
  Rollout rollout;
  (*rollout.add_waves()->mutable_labels()->mutable_labels())["canary"] = "true";
  rollout.add_waves()->set_percent(100);
  task::v1::CreateTaskRequest request = NewLongTask("site");
  (*request.mutable_selector())["role"] = "web";
  *request.mutable_rollout() = rollout;
  const auto created = Create(request);
  ASSERT_TRUE(created.ok()) << created.status();
  const std::string task = created->task().name();
  for (const std::string name : {"dev-1", "dev-2"}) {
    Label(name, {{"role", "web"}});
    const auto device = Connect(access::v1::ROLE_DEVICE, name);
    task::v1::JoinRequest join = NewJoin("");
    join.set_task(task);
    (*join.mutable_facts())["canary"] = "true";
    (*join.mutable_labels())["canary"] = "true";
    const auto joined = device->Call(&device->participation(), &ParticipationService::Stub::Join, join);
    ASSERT_TRUE(joined.ok()) << joined.status();
    Machine& machine = machines_[name];
    machine.member = {task, name, {joined->identity(), Secret::CopyOf(joined->secret())}};
    Declare(&machine);
  }
  EXPECT_TRUE(Reached(task).empty());
  Label("dev-2", {{"role", "web"}, {"canary", "true"}});
  EXPECT_EQ(WaitForWave(task, 1, 1), std::set<std::string>{"dev-2"});
  // It is not its wave any more before it has begun.
  Label("dev-2", {{"role", "web"}});
  while (GetParticipant(task, "dev-2").state() != Participant::STATE_QUEUED) {
  }
  EXPECT_EQ(GetParticipant(task, "dev-2").reason(), "next_wave");
  EXPECT_EQ(GetParticipant(task, "dev-2").wave(), 0);
}

TEST_F(RolloutTest, IsRefusedWhenItMakesNoSense) {
  task::v1::CreateTaskRequest request = NewTask("site");
  *request.mutable_rollout() = Waves("1,10%");
  EXPECT_EQ(Reason(Create(request).status()), "WAVES_MALFORMED");
  const CreateTaskResponse plain = *Create(NewTask("plain"));
  EXPECT_EQ(Reason(Advance(plain.task().name()).status()), "NO_ROLLOUT");
  EXPECT_EQ(Reason(Advance("tasks/none").status()), "TASK_NOT_FOUND");
}

}  // namespace
}  // namespace parley::taskd
