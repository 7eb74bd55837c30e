// parley proxy.
#include <signal.h>

#include <memory>
#include <string>
#include <utility>

#include "clients/cli/agent_output.h"
#include "clients/cli/command.h"
#include "clients/cli/connection.h"
#include "clients/cli/output.h"
#include "clients/cli/proxy.h"
#include "clients/cli/signals.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"

namespace parley::cli {
namespace {

struct ProxyFlags {
  std::string socket, audience = "taskd";
};

absl::StatusOr<ExitCode> Serve(const Globals& globals, const ProxyFlags& flags) {
  SignalFd signals({SIGINT, SIGTERM, SIGHUP});
  PrintInBackground(globals);
  ASSIGN_OR_RETURN(const keys::Credential credential, LoadCredential(globals, flags.audience));
  ASSIGN_OR_RETURN(transport::Dialer::Options options,
                   ops::DialerOptions(credential, CredentialPath(globals), flags.audience));
  const std::string address = options.address;
  ASSIGN_OR_RETURN(const std::unique_ptr<Proxy> proxy, Proxy::Listen(flags.socket, std::move(options)));
  if (globals.json()) {
    JsonEvent("ready").Text("socket", flags.socket).Text("address", address).Print();
  } else {
    PrintDone(flags.socket, " leads to ", address, ", for this user only; try in another terminal:");
    PrintLine("  grpcurl -plaintext -unix ", flags.socket, " list");
  }
  proxy->Serve(signals.fd());
  return kSuccess;
}

}  // namespace

void AddProxy(Command app, Globals* globals) {
  auto flags = std::make_shared<ProxyFlags>();
  Command command = AddCommand(app, globals, "proxy", "Offer a plaintext unix socket that leads to the server",
                               kCallerOptions, flags, &Serve);
  command.AddOption("--socket", flags->socket, "Path of the socket to make, mode 0600").Required();
  command.AddOption("--audience", flags->audience, "taskd, keyd or enrolld").ShowDefault();
  command.Footer(
      "For programs without TLS-PSK of their own. Whoever can open the socket acts with your credential.\n"
      "Example:\n"
      "  parley proxy --socket /tmp/parley.sock &\n"
      "  grpcurl -plaintext -unix /tmp/parley.sock parley.task.v1.TaskService/ListTasks");
}

}  // namespace parley::cli
