// gzip, RFC 1952.
#ifndef PARLEY_LIB_REST_GZIP_H_
#define PARLEY_LIB_REST_GZIP_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace parley::rest {

std::string Gzip(absl::string_view plain);
// Nothing for what is not one whole gzip member, or holds more than `max_bytes`.
std::optional<std::string> Gunzip(absl::string_view zipped, size_t max_bytes);

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_GZIP_H_
