// A plaintext unix socket that relays to a server over TLS-PSK, for programs without TLS-PSK of their own.
//
// Only the user of the process may open the socket (mode 0600). Every connection gets one of its own to the server.
//
// Threads: one thread. Serve blocks; each connection has two threads of the proxy's own.
#ifndef PARLEY_CLIENTS_CLI_PROXY_H_
#define PARLEY_CLIENTS_CLI_PROXY_H_

#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "lib/base/fd.h"
#include "lib/transport/dialer.h"

namespace parley::cli {

class Proxy {
 public:
  // Listens at `path`, in place of a socket at which nobody listens. Returns ALREADY_EXISTS (ADDRESS_IN_USE) if
  // somebody does, ALREADY_EXISTS (FILE_EXISTS) if there is something else, INVALID_ARGUMENT (PATH_TOO_LONG), or the
  // errors of FileError (lib/base/file.h) and of transport::Dialer::Create.
  static absl::StatusOr<std::unique_ptr<Proxy>> Listen(const std::string& path, transport::Dialer::Options options);
  // Closes all connections and removes the socket.
  ~Proxy();

  // Relays until `stop_fd` is readable. Prints to standard error why the server was not reached.
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
  // Joins and closes the connections that have ended, or all.
  void Reap(bool all);

  const std::string path_;
  Fd listener_;
  const std::unique_ptr<transport::Dialer> dialer_;
  std::list<Connection> connections_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_PROXY_H_
