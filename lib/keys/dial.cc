#include "lib/keys/dial.h"

#include "lib/base/error.h"
#include "lib/keys/identity.h"

namespace parley::keys {

transport::Dialer::Options DialOptions(const std::string& address, const std::string& identity, const Secret& secret,
                                       absl::Time not_after, Clock* clock) {
  transport::Dialer::Options options;
  options.address = address;
  options.identity = identity;
  options.psk = DerivePsk(secret);
  options.not_after = not_after;
  options.clock = clock;
  return options;
}

absl::StatusOr<transport::Dialer::Options> DialOptions(const Credential& credential, absl::string_view audience,
                                                       Clock* clock) {
  ASSIGN_OR_RETURN(const AudienceKey* const key, credential.KeyFor(audience));
  return DialOptions(key->address, key->identity, key->secret, credential.not_after, clock);
}

}  // namespace parley::keys
