// Addresses as people type them.
#include <stdlib.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "lib/transport/address.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using parley::transport::HostPort;
  const auto parsed = parley::transport::ParseHostPort(std::string(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) return 0;
  if (parsed->port.empty() || parsed->port.size() > 5) abort();
  // What is read can be written, and reads the same again.
  const bool bracketed = parsed->host.find(':') != std::string::npos;
  const auto again = parley::transport::ParseHostPort(bracketed ? absl::StrCat("[", parsed->host, "]:", parsed->port)
                                                                : absl::StrCat(parsed->host, ":", parsed->port));
  if (!again.ok() || again->host != parsed->host || again->port != parsed->port) abort();
  // Never asks the name service.
  (void)parley::transport::Resolve(*parsed, /*passive=*/false, /*numeric_only=*/true);
  return 0;
}
