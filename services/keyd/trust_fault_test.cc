// keyd as a process, killed while users are enrolled.
#include <unistd.h>

#include <random>
#include <set>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/mutex.h"
#include "services/keyd/testing/keyd_process.h"
#include "services/keyd/testing/trust_testing.h"

namespace parley::keyd {
namespace {

using access::v1::ROLE_ADMIN;
using trust::TestMember;

// Each user has one device, each device one credential, and none that was acknowledged is missing.
void ExpectEachHasOneDevice(KeyClient& client, const trust::Founding& founding,
                            const std::set<std::string>& acknowledged) {
  const auto chain = ReadChain(client, founding.root_verification_key, absl::Now());
  ASSERT_EQ(chain.status(), absl::OkStatus());
  std::set<std::string> devices;
  for (const trust::User* const user : chain->Users()) {
    ASSERT_EQ(chain->DevicesOf(user->id).size(), 1u);
    devices.insert(trust::DeviceName(chain->DevicesOf(user->id)[0]->id));
  }
  for (const std::string& device : acknowledged) EXPECT_EQ(devices.count(device), 1u);
  EXPECT_LE(devices.size(), acknowledged.size() + 2) << "Alice's, and one without an answer";
  key::v1::ListCredentialsRequest request;
  request.set_page_size(1000);
  key::v1::ListCredentialsResponse credentials;
  ASSERT_EQ(client.Call(&KeyClient::Stub::ListCredentials, request, &credentials), absl::OkStatus());
  std::set<std::string> with_credential;
  for (const key::v1::CredentialRecord& record : credentials.credentials()) {
    if (!record.device().empty()) EXPECT_TRUE(with_credential.insert(record.device()).second);
  }
  EXPECT_EQ(with_credential, devices);
}

TEST(TrustFault, KilledAtAnyMomentEnrolsNobodyHalfOrTwice) {
  TestFolder folder;
  KeydProcess keyd(folder.path() + "/data");
  keyd.Start();
  const TestMember alice("alice", ROLE_ADMIN);
  const trust::Founding founding = trust::Founding::Make(alice.user, alice.device, absl::Now());
  const auto founded = Found(*keyd.Connect(), founding);
  ASSERT_EQ(founded.status(), absl::OkStatus());
  const keys::Credential credential = ToCredential(founded->credential());

  std::minstd_rand random(20231107);
  Mutex mutex;
  CondVar changed;
  int answered = 0;
  std::set<std::string> acknowledged;
  // What was sent without an answer is sent again, as it was.
  Certificates pending;
  std::string request_id;
  int users = 0;
  for (int round = 0; round < 20; ++round) {
    if (round > 0) keyd.Start();
    if (testing::Test::HasFatalFailure()) return;
    const int before = answered;
    std::thread admin([&] {
      KeyClient client(credential, Clock::System());
      while (true) {
        if (pending.empty()) {
          const auto chain = ReadChain(client, founding.root_verification_key, absl::Now());
          if (!chain.ok()) return;
          pending = TestMember(absl::StrCat("user-", users++)).EnrolledBy(alice, *chain, absl::Now());
          request_id = crypto::RandomUuid();
        }
        const auto enrolled = Enrol(client, pending, request_id);
        if (!enrolled.ok()) {
          EXPECT_EQ(enrolled.status().code(), absl::StatusCode::kUnavailable) << enrolled.status();
          return;
        }
        pending.clear();
        MutexLock lock(&mutex);
        acknowledged.insert(enrolled->credential().record().device());
        ++answered;
        changed.NotifyAll();
      }
    });
    {
      MutexLock lock(&mutex);
      while (answered < before + 1 + round % 3) changed.Wait(&mutex);
    }
    usleep(random() % 5000);
    keyd.Kill();
    admin.join();
  }
  keyd.Start();
  KeyClient client(credential, Clock::System());
  ExpectEachHasOneDevice(client, founding, acknowledged);
}

}  // namespace
}  // namespace parley::keyd
