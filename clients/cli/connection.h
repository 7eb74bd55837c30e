// A connection to one of the services with the credential of the command line.
//
//   ASSIGN_OR_RETURN(auto server, Connection::Open(globals, keys::kTaskd));
//   auto tasks = task::v1::TaskService::NewStub(server->channel());
//   ASSIGN_OR_RETURN(task::v1::Task task, server->Call(tasks.get(), &task::v1::TaskService::Stub::GetTask, request));
#ifndef PARLEY_CLIENTS_CLI_CONNECTION_H_
#define PARLEY_CLIENTS_CLI_CONNECTION_H_

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "clients/cli/command.h"
#include "grpcpp/grpcpp.h"
#include "lib/keys/credential.h"
#include "lib/transport/channel.h"
#include "lib/transport/dialer.h"

namespace parley::cli {

// The credential in the device file where UsesDevice() (unlock.h), else that of --credential, $PARLEY_CREDENTIAL or the
// configuration folder, in this order. NOT_FOUND (NO_CREDENTIAL) says how to get one.
absl::StatusOr<keys::Credential> LoadCredential(const Globals& globals);
// The file that it would be read from.
std::string CredentialPath(const Globals& globals);

// Puts --server, where it is given, in place of the audience's address.
void UseServer(const Globals& globals, absl::string_view audience, keys::Credential* credential);

// How to dial an audience: its address, or --server's, and the key for it. FAILED_PRECONDITION (KEY_EXPIRED).
absl::StatusOr<transport::Dialer::Options> DialerOptions(const Globals& globals, absl::string_view audience);

class Connection {
 public:
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const Globals& globals, absl::string_view audience);

  const std::string& address() const { return address_; }
  std::shared_ptr<grpc::Channel> channel() const { return channel_->grpc(); }

  // The sentence of a call's error: the service's own, or why it was not reached.
  absl::Status Explain(const grpc::Status& status) const;

  template <typename Service, typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Service* stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request) const {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    Response response;
    if (absl::Status status = Explain((stub->*method)(&context, request, &response)); !status.ok()) return status;
    return response;
  }

 private:
  Connection(std::string address, std::unique_ptr<transport::Channel> channel, bool by_admin);

  const std::string address_;
  const std::unique_ptr<transport::Channel> channel_;
  const bool by_admin_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_CONNECTION_H_
