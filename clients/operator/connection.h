// A connection to one of the services with a credential, and its errors in words that a person can act on.
//
//   ASSIGN_OR_RETURN(const keys::Credential credential, keys::ReadCredentialFile(path));
//   ASSIGN_OR_RETURN(auto server, Connection::Open(credential, path, keys::kTaskd));
//   ASSIGN_OR_RETURN(task::v1::Task task, server->Call<TaskService>(&TaskService::Stub::GetTask, request));
//
// Threads: all methods may be called from any thread. Call and CallAll block.
#ifndef PARLEY_CLIENTS_OPERATOR_CONNECTION_H_
#define PARLEY_CLIENTS_OPERATOR_CONNECTION_H_

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/grpcpp.h"
#include "lib/base/error.h"
#include "lib/keys/credential.h"
#include "lib/transport/channel.h"
#include "lib/transport/dialer.h"

namespace parley::ops {

// Puts `address` (host:port), unless it is empty, in place of the one that the credential has for the audience.
void UseAddress(absl::string_view audience, const std::string& address, keys::Credential* credential);

// Returns how to dial an audience (lib/keys/identity.h). `path` is where the credential is kept, for the sentence.
// Returns FAILED_PRECONDITION (KEY_EXPIRED), or the error of Credential::KeyFor.
absl::StatusOr<transport::Dialer::Options> DialerOptions(const keys::Credential& credential, absl::string_view path,
                                                         absl::string_view audience);

class Connection {
 public:
  // Does not wait for the server. Returns the errors of DialerOptions and of transport::Channel::Create.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const keys::Credential& credential, absl::string_view path,
                                                          absl::string_view audience);

  std::shared_ptr<grpc::Channel> channel() const { return channel_->grpc(); }

  // Returns the error of a call: the service's own, or why the service was not reached.
  absl::Status Explain(const grpc::Status& status) const;

  // Makes a call of a service, and waits for the answer for at most 30 seconds. A change that is stored but not in
  // force everywhere yet (REPLICAS_BEHIND) is asked for again until it is; that is said on standard error once. Returns
  // the errors of Explain.
  template <typename Service, typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request) const {
    const std::unique_ptr<typename Service::Stub> stub = Service::NewStub(channel());
    for (bool first = true;; first = false) {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
      Response response;
      const absl::Status status = Explain(((*stub).*method)(&context, request, &response));
      if (status.ok()) return response;
      if (Reason(status) != "REPLICAS_BEHIND") return status;
      if (first) SayBehind(status);
    }
  }

  // Returns all pages of a list as one, or the errors of Call.
  template <typename Service, typename Request, typename Response>
  absl::StatusOr<Response> CallAll(grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                         Response*),
                                   Request request) const {
    Response all;
    do {
      ASSIGN_OR_RETURN(const Response page, Call<Service>(method, request));
      all.MergeFrom(page);
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    all.clear_next_page_token();
    return all;
  }

 private:
  static void SayBehind(const absl::Status& status);
  Connection(std::string address, std::unique_ptr<transport::Channel> channel, bool by_admin);

  const std::string address_;
  const std::unique_ptr<transport::Channel> channel_;
  const bool by_admin_;
};

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_CONNECTION_H_
