// A server's TLS session under whatever a peer without a key can send: it never gets in.
#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "lib/transport/testing/keys.h"
#include "lib/transport/tls_session.h"

namespace parley::transport {
namespace {

struct Server {
  Server() {
    keys.Add("alice");
    const ServerCertificate certificate = MakeTestServerCertificate(absl::Now());
    context = *MakeServerContext(certificate.pem, certificate.key_pem);
  }
  FakeKeys keys;
  FakeClock clock;
  const PeerCheck check{&keys, &clock, /*accept_rest=*/true};
  std::shared_ptr<SSL_CTX> context;
};

// The first byte says in pieces of which size the rest comes.
void Feed(const Server& server, absl::string_view input) {
  const size_t piece = input.empty() ? 1 : 1 + static_cast<uint8_t>(input.front()) * 4u;
  input.remove_prefix(std::min<size_t>(input.size(), 1));
  const auto session = TlsSession::Accept(server.context.get(), &server.check);
  std::string output;
  while (!input.empty()) {
    const auto step = session->Handshake(input.substr(0, piece), &output);
    if (step == TlsSession::Step::kDone) abort();
    if (step == TlsSession::Step::kFailed) {
      if (session->failure() == TlsSession::Failure::kNone) abort();
      return;
    }
    input.remove_prefix(std::min(input.size(), piece));
  }
}

}  // namespace
}  // namespace parley::transport

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const server = new parley::transport::Server;
  parley::transport::Feed(*server, absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
