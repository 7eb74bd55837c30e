// Many agents in one process, each with a device's credential of its own and the label fleet=rolling: what they tell
// their observers comes out as lines of JSON.
//
//   agents ADMIN_CREDENTIAL COUNT FOLDER     until its standard input ends
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/agent/agent.h"
#include "clients/agent/cancellation.h"
#include "clients/chain/trust_client.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/credential.h"
#include "lib/keys/dial.h"
#include "lib/keys/identity.h"
#include "lib/transport/channel.h"
#include "parley/key/v1/key_service.grpc.pb.h"

namespace parley {
namespace {

// Commits of keyd's store share an fsync.
constexpr int kIssuers = 16;

// One line each, whole, with the seconds since the first.
class Printer final : public agent::Observer {
 public:
  explicit Printer(int agent) : agent_(agent) {}

  void OnEvent(const agent::Event& event) override {
    std::visit([this](const auto& each) { Show(each); }, event);
  }
  void Print(const char* event, const std::string& why = "", absl::Duration pause = absl::ZeroDuration()) {
    static const absl::Time start = absl::Now();
    const std::string line = absl::StrCat("{\"agent\":", agent_, ",\"event\":\"", event, "\",\"why\":\"", why,
                                          "\",\"pause\":", absl::ToDoubleSeconds(pause),
                                          ",\"seconds\":", absl::ToDoubleSeconds(absl::Now() - start), "}\n");
    fwrite(line.data(), 1, line.size(), stdout);
  }

 private:
  void Show(const agent::event::Connected&) { Print("connected"); }
  void Show(const agent::event::Disconnected& e) { Print("disconnected", Reason(e.why), e.retry_time - absl::Now()); }
  void Show(const agent::event::Confirmed&) { Print("confirmed"); }
  void Show(const agent::event::RollingBack& e) { Print("rolling_back", e.reason); }
  void Show(const agent::event::Declined& e) { Print("declined", e.code); }
  void Show(const agent::event::Failed& e) { Print("failed", Reason(e.why)); }
  template <typename Other>
  void Show(const Other&) {}

  const int agent_;
};

absl::Status Issue(const keys::Credential& admin, std::vector<keys::Credential>* credentials) {
  ASSIGN_OR_RETURN(transport::Dialer::Options dial, keys::DialOptions(admin, keys::kKeyd));
  ASSIGN_OR_RETURN(const auto channel, transport::Channel::Create(std::move(dial)));
  const auto stub = key::v1::KeyService::NewStub(channel->grpc());
  std::atomic<size_t> next = 0;
  std::vector<absl::Status> errors(kIssuers);
  std::vector<std::thread> issuers;
  for (absl::Status& error : errors) {
    issuers.emplace_back([&] {
      for (size_t i = next++; error.ok() && i < credentials->size(); i = next++) {
        grpc::ClientContext context;
        key::v1::IssueCredentialRequest request;
        request.set_request_id(crypto::RandomUuid());
        request.set_role(access::v1::ROLE_DEVICE);
        request.set_subject(absl::StrCat("agent-", i));
        (*request.mutable_labels())["fleet"] = "rolling";
        key::v1::IssueCredentialResponse response;
        error = channel->Explain(stub->IssueCredential(&context, request, &response));
        (*credentials)[i] = trust::ToCredential(&response);
      }
    });
  }
  for (std::thread& issuer : issuers) issuer.join();
  for (const absl::Status& error : errors) RETURN_IF_ERROR(error);
  return absl::OkStatus();
}

absl::Status Run(const std::string& admin_path, int count, const std::string& folder) {
  ASSIGN_OR_RETURN(const keys::Credential admin, keys::ReadCredentialFile(admin_path));
  std::vector<keys::Credential> credentials(count);
  RETURN_IF_ERROR(Issue(admin, &credentials));
  agent::Cancellation cancellation;
  std::vector<std::thread> agents;
  for (int i = 0; i < count; ++i) {
    agents.emplace_back([&, i] {
      agent::DeviceOptions options;
      options.credential = std::move(credentials[i]);
      options.state_dir = absl::StrCat(folder, "/", i, "/state");
      options.into = absl::StrCat(folder, "/", i, "/into");
      options.cancellation = &cancellation;
      Printer printer(i);
      const absl::Status made = MakeFolders(absl::StrCat(folder, "/", i), 0700);
      const absl::Status ended = made.ok() ? agent::RunDevice(std::move(options), &printer) : made;
      if (!absl::IsCancelled(ended)) printer.Print("ended", std::string(ended.message()));
    });
  }
  for (char ignored; read(STDIN_FILENO, &ignored, 1) > 0;) {
  }
  cancellation.Cancel();
  for (std::thread& each : agents) each.join();
  return absl::OkStatus();
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: agents ADMIN_CREDENTIAL COUNT FOLDER\n");
    return 2;
  }
  setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  const absl::Status status = parley::Run(argv[1], atoi(argv[2]), argv[3]);
  if (!status.ok()) fprintf(stderr, "agents: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
