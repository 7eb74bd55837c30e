// A store that an earlier version has written, and clients of that version, which say nothing of what is new.
#include <fstream>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

constexpr char kTask[] = "site-uk5m";
// A minute after it was written, when no lease has run out yet.
const absl::Time kNow = absl::FromUnixSeconds(1'795'909'114) + absl::Minutes(1);

class EarlierStoreTest : public TaskdTest {
 protected:
  EarlierStoreTest() {
    clock_.Advance(kNow - clock_.Now());
    std::ifstream file("services/taskd/earlier_store.txt");
    store::Transaction transaction;
    for (std::string line; std::getline(file, line);) {
      if (line.substr(0, 1) == "#") continue;
      const std::pair<std::string, std::string> entry = absl::StrSplit(line, absl::MaxSplits(' ', 1));
      transaction.Set(entry.first, *HexDecode(entry.second));
    }
    EXPECT_EQ(transaction.puts.size(), 18u);
    EXPECT_TRUE(store_->Commit(std::move(transaction)).ok());
    Restart();
  }

  Participant Client(const std::string& name) { return GetParticipant(TaskName(kTask), name); }
  // Under the key that the record is of.
  std::unique_ptr<TaskdTestClient> ConnectAs(const std::string& name) {
    ParticipantRecord record;
    EXPECT_TRUE(record.ParseFromString(store_->Get(ParticipantKey(kTask, name))->value));
    return Connect(MintAgain(access::v1::ROLE_MEMBER, MemberSubject(kTask, ClientTag(kTask, name)), record.serial()));
  }
  // What its agent declares after a restart: what it has always said.
  task::v1::Declaration Again(const std::string& name) {
    const Participant client = Client(name);
    task::v1::Declaration declaration;
    *declaration.mutable_facts() = client.facts();
    declaration.set_installed_digest(client.installed_digest());
    return declaration;
  }
};

TEST_F(EarlierStoreTest, IsCountedAsItWas) {
  const Task task = Get(TaskName(kTask));
  EXPECT_EQ(task.state(), Task::STATE_OPEN);
  EXPECT_EQ(task.counts().joined(), 5);
  EXPECT_EQ(task.counts().confirmed(), 1);
  EXPECT_EQ(task.counts().rolled_back(), 1);
  EXPECT_EQ(task.counts().declined(), 1);
  EXPECT_EQ(task.counts().canceled(), 1);
  EXPECT_EQ(task.counts().hindered(), 0);
}

TEST_F(EarlierStoreTest, ShowsTheRevisionWithoutWhoHasPublishedIt) {
  task::v1::ListRevisionsRequest request;
  request.set_parent(TaskName(kTask));
  const auto all = op().Call(&op().tasks(), &TaskService::Stub::ListRevisions, request);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->revisions_size(), 1);
  EXPECT_EQ(all->revisions(0).author(), "");
  EXPECT_EQ(all->revisions(0).payload_digest(), Get(TaskName(kTask)).payload_digest());
  EXPECT_EQ(all->revisions(0).payload_bytes(), 11);
  EXPECT_LT(ToTime(all->revisions(0).create_time()), kNow);
}

TEST_F(EarlierStoreTest, LeavesClientsThatSayNothingNewWhereTheyAre) {
  const std::map<std::string, Participant::State> states = {{"web-confirmed", Participant::STATE_CONFIRMED},
                                                            {"web-failed", Participant::STATE_ROLLED_BACK},
                                                            {"web-declined", Participant::STATE_DECLINED},
                                                            {"web-checking", Participant::STATE_CHECKING}};
  for (const auto& [name, state] : states) {
    const auto client = ConnectAs(name);
    for (int i = 0; i < 2; ++i) {
      TestNegotiation negotiation(client.get(), TaskName(kTask));
      EXPECT_EQ(negotiation.Declare(Again(name)).state(), state) << name;
    }
    EXPECT_FALSE(Client(name).drifted()) << name;
  }
}

TEST_F(EarlierStoreTest, LetsClientsGoOnFromThere) {
  const std::string digest = Get(TaskName(kTask)).payload_digest();
  // The check goes on after the restart of both.
  const auto checking = ConnectAs("web-checking");
  const auto confirmed = Confirm(checking.get(), TaskName(kTask), digest);
  ASSERT_TRUE(confirmed.ok()) << confirmed.status();

  EXPECT_EQ(Retry(TaskName(kTask))->retried_clients(), 2);
  const auto failed = ConnectAs("web-failed");
  TestNegotiation negotiation(failed.get(), TaskName(kTask));
  const NegotiateResponse offered = negotiation.Declare(Again("web-failed"));
  ASSERT_EQ(offered.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(offered.attempt(), 2);

  // The folder was removed since it was confirmed.
  const auto removed = ConnectAs("web-confirmed");
  TestNegotiation drifted(removed.get(), TaskName(kTask));
  EXPECT_EQ(drifted.Declare().state(), Participant::STATE_OFFERED);
  EXPECT_TRUE(Client("web-confirmed").drifted());
}

TEST_F(EarlierStoreTest, KeepsARevokedKeyRevoked) {
  const auto client = ConnectAs("web-queued");
  TestNegotiation negotiation(client.get(), TaskName(kTask));
  EXPECT_EQ(negotiation.Declare().state(), Participant::STATE_UNSPECIFIED);
  EXPECT_EQ(Client("web-queued").state(), Participant::STATE_CANCELED);
}

// An earlier version ended what it halted, and canceled its clients.
TEST_F(EarlierStoreTest, DoesNotOpenATaskAgainThatWasEndedByHalting) {
  const auto entry = store_->Get(TaskKey(kTask));
  TaskRecord record;
  ASSERT_TRUE(record.ParseFromString(entry->value));
  record.mutable_task()->set_state(Task::STATE_HALTED);
  *record.mutable_end_time() = ToProto(kNow);
  record.set_end_reason("halted after 2 failures, over the limit of 1");
  store::Transaction transaction;
  transaction.Set(TaskKey(kTask), record.SerializeAsString());
  ASSERT_TRUE(store_->Commit(std::move(transaction)).ok());
  Restart();
  EXPECT_EQ(Get(TaskName(kTask)).state(), Task::STATE_ABORTED);
  EXPECT_EQ(Get(TaskName(kTask)).state_reason(), record.end_reason());
  EXPECT_EQ(Reason(Resume(TaskName(kTask)).status()), "TASK_ENDED");
}

}  // namespace
}  // namespace parley::taskd
