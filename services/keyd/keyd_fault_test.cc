// keyd as a process, killed at random moments.
#include <unistd.h>

#include <map>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "lib/audit/audit_chain.h"
#include "lib/base/mutex.h"
#include "services/keyd/testing/keyd_process.h"
#include "services/keyd/testing/keyd_testing.h"

namespace parley::keyd {
namespace {

using Stub = KeyClient::Stub;

TEST(KeydFault, KilledAtAnyMomentLosesNothingAcknowledged) {
  TestFolder folder;
  KeydProcess keyd(folder.path() + "/data");
  std::minstd_rand random(20231107);
  Mutex mutex;
  CondVar changed;
  // Request id to answer.
  std::map<std::string, std::string> acknowledged;
  for (int round = 0; round < 30; ++round) {
    keyd.Start();
    if (testing::Test::HasFatalFailure()) return;
    const auto client = keyd.Connect();
    const size_t before = acknowledged.size();
    std::vector<std::thread> admins;
    for (int t = 0; t < 3; ++t) {
      admins.emplace_back([&, t] {
        absl::Status status;
        while (status.ok()) {
          const std::string id = crypto::RandomUuid();
          const auto issued = client->Issue(access::v1::ROLE_DEVICE, absl::StrCat("web-", t), id);
          status = issued.status();
          MutexLock lock(&mutex);
          if (issued.ok()) acknowledged[id] = issued->SerializeAsString();
          changed.NotifyAll();
        }
      });
    }
    {
      // So many answers, then so many microseconds: any moment of an operation.
      MutexLock lock(&mutex);
      while (acknowledged.size() < before + 1 + round % 5) changed.Wait(&mutex);
    }
    usleep(random() % 5000);
    keyd.Kill();
    for (std::thread& admin : admins) admin.join();
  }
  keyd.Start();
  const auto client = keyd.Connect();
  EXPECT_GE(acknowledged.size(), 30);
  for (const auto& [id, answer] : acknowledged) {
    key::v1::IssueCredentialResponse before;
    before.ParseFromString(answer);
    const auto again = client->Issue(access::v1::ROLE_DEVICE, before.record().subject(), id);
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ(again->SerializeAsString(), answer) << "the same credential, whole";
  }
  audit::AuditVerifier verifier;
  key::v1::ListAuditEventsResponse page;
  do {
    key::v1::ListAuditEventsRequest request;
    request.set_after_sequence(verifier.mark().sequence);
    request.set_page_size(1000);
    ASSERT_TRUE(client->Call(&Stub::ListAuditEvents, request, &page).ok());
    for (const key::v1::AuditEntry& entry : page.entries()) ASSERT_TRUE(verifier.Add(entry).ok());
  } while (!page.entries().empty());
  EXPECT_TRUE(verifier.Finish(page.last_sequence()).ok());
}

}  // namespace
}  // namespace parley::keyd
