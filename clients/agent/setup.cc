#include "clients/agent/setup.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "lib/crypto/hash.h"

namespace parley::agent {

std::string SetupDigest(const Options& options, const std::string& target) {
  std::string all("parley setup v1");
  for (const std::string& part :
       {options.hooks.check, options.hooks.apply, absl::FormatDuration(options.hooks.check_timeout),
        absl::FormatDuration(options.hooks.apply_timeout), absl::FormatDuration(options.confirm_timeout), target}) {
    absl::StrAppend(&all, part.size(), ":", part);
  }
  return crypto::Sha256(all);
}

}  // namespace parley::agent
