// A plaintext unix socket that relays to a server over TLS-PSK, for stacks without TLS-PSK of their own.
//
// Only the user of the process may open the socket (mode 0600). Every connection gets one of its own to the server.
#ifndef PARLEY_CLIENTS_CLI_PROXY_H_
#define PARLEY_CLIENTS_CLI_PROXY_H_

#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/fd.h"
#include "lib/transport/dialer.h"

namespace parley::cli {

class Proxy {
 public:
  // Listens at `path`; takes the place of a socket that nobody listens at. ADDRESS_IN_USE, FILE_EXISTS (something
  // else is there), or the error of the folder.
  static absl::StatusOr<std::unique_ptr<Proxy>> Listen(const std::string& path, transport::Dialer::Options options);
  // Closes all connections and removes the socket.
  ~Proxy();

  // Relays until `stop_fd` is readable. Failed dials are told on standard error.
  void Serve(int stop_fd);

 private:
  struct Connection {
    Fd local;
    Fd remote;
    std::atomic<int> directions_open = 2;
    std::thread up, down;
  };

  Proxy(std::string path, Fd listener, std::unique_ptr<transport::Dialer> dialer);
  void Accept();
  void Copy(int from, int to, Connection* connection, bool is_answer);
  // Joins and closes those that have ended, or all.
  void Reap(bool all);

  const std::string path_;
  Fd listener_;
  const std::unique_ptr<transport::Dialer> dialer_;
  std::list<Connection> connections_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_PROXY_H_
