// A channel to keyd under a credential that is read from its file, and read again when keyd refuses it.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_KEYD_CLIENT_KEYD_CONNECTION_H_
#define PARLEY_LIB_KEYD_CLIENT_KEYD_CONNECTION_H_

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/transport/channel.h"
#include "parley/key/v1/key_service.grpc.pb.h"

namespace parley::keyd_client {

class KeydConnection {
 public:
  using Stub = key::v1::KeyService::Stub;
  using Call = std::function<grpc::Status(Stub*, grpc::ClientContext*)>;

  // Dials `address` ("host:port"), or if it is empty the address in the credential. Returns the errors of
  // keys::ReadCredentialFile, or INVALID_ARGUMENT: CREDENTIAL_ROLE, or ADDRESS_INVALID if `address` is no host:port.
  static absl::StatusOr<std::unique_ptr<KeydConnection>> Create(const std::string& credential_path,
                                                                const std::string& address, Clock* clock);

  // Checks the credential without connecting. Returns CREDENTIAL_EXPIRED, or the errors of Create.
  static absl::Status Check(const std::string& credential_path);

  // Makes the call, and blocks. The call carries the thread's trace, or a new one. If keyd refuses the credential and
  // its file has another one by now, the next call uses that. Returns the call's error, with the true reason if keyd
  // could not be reached.
  absl::Status Run(const Call& call, absl::Time deadline = absl::InfiniteFuture());

  // Cancels the calls under way. Later calls fail with CANCELLED.
  void Stop();

  const std::string& audience() const { return audience_; }
  const std::string& address() const { return address_; }
  absl::Time credential_expires() const {
    MutexLock lock(&mutex_);
    return link_->not_after;
  }

 private:
  struct Link {
    std::string serial;
    absl::Time not_after;
    std::unique_ptr<transport::Channel> channel;
    std::unique_ptr<Stub> stub;
  };

  KeydConnection(std::string credential_path, std::string address, Clock* clock)
      : path_(std::move(credential_path)), given_address_(std::move(address)), clock_(clock) {}
  absl::Status Connect();
  void ReadCredentialAgain(const std::string& refused_serial);

  const std::string path_;
  // Is empty if the credential says where keyd is.
  const std::string given_address_;
  Clock* const clock_;
  // The audience of the first credential.
  std::string audience_;
  std::string address_;
  mutable Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<const Link> link_ ABSL_GUARDED_BY(mutex_);
  std::set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::keyd_client

#endif  // PARLEY_LIB_KEYD_CLIENT_KEYD_CONNECTION_H_
