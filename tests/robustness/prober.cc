// Tries keys at every replica, again and again, and says when each try began and ended and what came of it.
//
//   prober NAME=AUDIENCE@HOST:PORT…
//
// A line "+KEY FILE" of standard input begins the tries of the credential in that file, "*KEY FILE" those of the join
// key in that file, and "-KEY" ends them. Times are nanoseconds of CLOCK_MONOTONIC.
//
// A try of a credential is a call for something that does not exist, so that NOT_FOUND means that the credential was
// admitted, which is told as "OK". One thread for each credential and replica calls over a connection that stays, as
// long as it may, and another one over a new connection each time.
//
// A try of a join key is a Join. Each thread joins as one client after another, at whichever taskd it draws. When it
// cannot know whether it has joined, it tries again as the same client, perhaps at another taskd.
#include <stdio.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/operator/connection.h"
#include "grpcpp/client_context.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/may_pass.h"
#include "lib/base/mutex.h"
#include "lib/base/secret.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/credential.h"
#include "lib/keys/dial.h"
#include "lib/keys/identity.h"
#include "lib/keys/join_key.h"
#include "lib/keys/pasting.h"
#include "lib/transport/channel.h"
#include "parley/enrol/v1/invitation_service.grpc.pb.h"
#include "parley/key/v1/key_service.grpc.pb.h"
#include "parley/task/v1/participation_service.grpc.pb.h"
#include "parley/task/v1/task_service.grpc.pb.h"

namespace parley {
namespace {

constexpr auto kDeadline = std::chrono::seconds(10);
// Between two calls.
constexpr int kLeastPauseMilliseconds = 60;
constexpr int kMostPauseMilliseconds = 260;
// Threads of one join key.
constexpr int kJoiners = 4;
constexpr size_t kNonceBytes = 32;

struct Replica {
  std::string name;
  std::string audience;
  std::string address;
};

int64_t Nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Makes a call that a credential's holder may make if it is admitted at all.
absl::Status Call(const transport::Channel& channel, const std::string& audience) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  if (audience == keys::kKeyd) {
    key::v1::GetCredentialRequest request;
    request.set_name(absl::StrCat("credentials/", std::string(32, '0')));
    key::v1::CredentialRecord response;
    return channel.Explain(key::v1::KeyService::NewStub(channel.grpc())->GetCredential(&context, request, &response));
  }
  if (audience == keys::kTaskd) {
    task::v1::GetParticipantRequest request;
    request.set_name("tasks/none/participants/none");
    task::v1::Participant response;
    return channel.Explain(
        task::v1::TaskService::NewStub(channel.grpc())->GetParticipant(&context, request, &response));
  }
  enrol::v1::GetInvitationRequest request;
  request.set_name(absl::StrCat("invitations/", std::string(32, '0')));
  enrol::v1::Invitation response;
  return channel.Explain(
      enrol::v1::InvitationService::NewStub(channel.grpc())->GetInvitation(&context, request, &response));
}

// Tries one key on threads of its own, until End, which the destructor of each kind calls.
class Tries {
 public:
  virtual ~Tries() = default;

 protected:
  explicit Tries(std::string key) : key_(std::move(key)) {}
  void Begin(std::function<void()> run) { threads_.emplace_back(std::move(run)); }
  void End() {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      stop_.NotifyAll();
    }
    for (std::thread& thread : threads_) thread.join();
  }
  // Waits between two tries. Returns whether there is to be another one.
  bool GoesOn(std::minstd_rand* random) {
    std::uniform_int_distribution<int> pause(kLeastPauseMilliseconds, kMostPauseMilliseconds);
    const absl::Duration end = TimeSinceBoot() + absl::Milliseconds(pause(*random));
    MutexLock lock(&mutex_);
    while (!stopping_ && TimeSinceBoot() < end) stop_.WaitFor(&mutex_, end - TimeSinceBoot());
    return !stopping_;
  }
  void Print(const std::string& replica, bool kept, int64_t begin, const absl::Status& status,
             const std::string& client = "") const {
    const std::string answer = status.ok() || absl::IsNotFound(status) ? "OK"
                               : Reason(status).empty()                ? absl::StatusCodeToString(status.code())
                                                                       : std::string(Reason(status));
    const std::string line =
        absl::StrCat("{\"credential\":\"", key_, "\",\"replica\":\"", replica, "\",\"way\":\"", kept ? "kept" : "new",
                     "\",\"begin\":", begin, ",\"end\":", Nanoseconds(), ",\"answer\":\"", answer, "\",\"client\":\"",
                     client, "\",\"known\":", MayPass(status) ? "false" : "true", "}\n");
    fwrite(line.data(), 1, line.size(), stdout);
  }

 private:
  const std::string key_;
  Mutex mutex_;
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

class CredentialTries final : public Tries {
 public:
  CredentialTries(const std::string& key, std::string file, const std::vector<Replica>& replicas)
      : Tries(key), file_(std::move(file)) {
    for (const Replica& replica : replicas) {
      for (const bool keep : {true, false}) {
        Begin([this, replica, keep] { Run(replica, keep); });
      }
    }
  }
  ~CredentialTries() override { End(); }

 private:
  void Run(const Replica& replica, bool keep) {
    std::minstd_rand random(static_cast<unsigned>(Nanoseconds()));
    std::unique_ptr<transport::Channel> channel;
    do {
      const int64_t begin = Nanoseconds();
      const absl::Status status = Try(replica, &channel);
      Print(replica.name, keep, begin, status);
      if (!keep) channel = nullptr;
    } while (GoesOn(&random));
  }
  absl::Status Try(const Replica& replica, std::unique_ptr<transport::Channel>* channel) const {
    if (*channel == nullptr) {
      ASSIGN_OR_RETURN(keys::Credential credential, keys::ReadCredentialFile(file_));
      ops::UseAddress(replica.audience, replica.address, &credential);
      ASSIGN_OR_RETURN(transport::Dialer::Options dial, keys::DialOptions(credential, replica.audience));
      ASSIGN_OR_RETURN(*channel, transport::Channel::Create(std::move(dial)));
    }
    return Call(**channel, replica.audience);
  }

  const std::string file_;
};

class JoinTries final : public Tries {
 public:
  JoinTries(const std::string& key, std::string file, const std::vector<Replica>& replicas)
      : Tries(key), file_(std::move(file)) {
    for (const Replica& replica : replicas) {
      if (replica.audience == keys::kTaskd) replicas_.push_back(replica);
    }
    for (int i = 0; i < kJoiners; ++i) {
      Begin([this, keep = i % 2 == 0] { Run(keep); });
    }
  }
  ~JoinTries() override { End(); }

 private:
  void Run(bool keep) {
    std::minstd_rand random(static_cast<unsigned>(Nanoseconds()));
    std::unique_ptr<transport::Channel> channel;
    const Replica* replica = nullptr;
    task::v1::JoinRequest request;
    do {
      if (request.client().empty()) {
        request.set_client(absl::StrCat("joiner-", crypto::RandomUuid()));
        request.set_nonce(crypto::RandomBytes(kNonceBytes));
      }
      if (channel == nullptr) replica = &replicas_[random() % replicas_.size()];
      const int64_t begin = Nanoseconds();
      const absl::Status status = Try(*replica, request, &channel);
      Print(replica->name, keep, begin, status, request.client());
      if (!keep || MayPass(status)) channel = nullptr;
      if (!MayPass(status)) request.Clear();
    } while (GoesOn(&random));
  }
  absl::Status Try(const Replica& replica, const task::v1::JoinRequest& request,
                   std::unique_ptr<transport::Channel>* channel) const {
    if (*channel == nullptr) {
      ASSIGN_OR_RETURN(const Secret pasted, ReadSecretFile(file_, keys::kMaxPastingBytes));
      ASSIGN_OR_RETURN(const keys::JoinKey key, keys::ParseJoinKey(pasted, absl::Now()));
      ASSIGN_OR_RETURN(*channel, transport::Channel::Create(
                                     keys::DialOptions(replica.address, key.identity, key.secret, key.not_after)));
    }
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kDeadline);
    task::v1::JoinResponse response;
    return (*channel)->Explain(
        task::v1::ParticipationService::NewStub((*channel)->grpc())->Join(&context, request, &response));
  }

  const std::string file_;
  std::vector<Replica> replicas_;
};

void Run(const std::vector<Replica>& replicas) {
  std::map<std::string, std::unique_ptr<Tries>> tries;
  for (std::string line; std::getline(std::cin, line);) {
    const std::vector<std::string> words = absl::StrSplit(line.substr(1), ' ');
    if (line[0] == '+') {
      tries[words[0]] = std::make_unique<CredentialTries>(words[0], words.at(1), replicas);
    } else if (line[0] == '*') {
      tries[words[0]] = std::make_unique<JoinTries>(words[0], words.at(1), replicas);
    } else {
      tries.erase(words[0]);
    }
  }
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  std::vector<parley::Replica> replicas;
  for (int i = 1; i < argc; ++i) {
    const std::vector<std::string> parts = absl::StrSplit(argv[i], absl::ByAnyChar("=@"));
    replicas.push_back({parts.at(0), parts.at(1), parts.at(2)});
  }
  setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  parley::Run(replicas);
  return 0;
}
