// How to dial a service with a key for it.
//
// Threads: pure functions.
#ifndef PARLEY_LIB_KEYS_DIAL_H_
#define PARLEY_LIB_KEYS_DIAL_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/secret.h"
#include "lib/keys/credential.h"
#include "lib/transport/dialer.h"

namespace parley::keys {

// `address` is host:port. `clock` must outlive the dialer.
transport::Dialer::Options DialOptions(const std::string& address, const std::string& identity, const Secret& secret,
                                       absl::Time not_after = absl::InfiniteFuture(), Clock* clock = Clock::System());

// Takes the credential's key for the audience, and its end. The errors of Credential::KeyFor.
absl::StatusOr<transport::Dialer::Options> DialOptions(const Credential& credential, absl::string_view audience,
                                                       Clock* clock = Clock::System());

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_DIAL_H_
