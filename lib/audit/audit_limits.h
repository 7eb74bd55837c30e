// Limits for the texts of an audit event: keyd takes no longer ones, and services cut theirs to them.
#ifndef PARLEY_LIB_AUDIT_AUDIT_LIMITS_H_
#define PARLEY_LIB_AUDIT_AUDIT_LIMITS_H_

#include <cstddef>

namespace parley::audit {

inline constexpr size_t kMaxActorBytes = 128;
inline constexpr size_t kMaxActionBytes = 64;
inline constexpr size_t kMaxResourceBytes = 512;
inline constexpr size_t kMaxOutcomeBytes = 64;
inline constexpr size_t kMaxDetailBytes = 1000;

}  // namespace parley::audit

#endif  // PARLEY_LIB_AUDIT_AUDIT_LIMITS_H_
