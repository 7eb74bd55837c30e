// Writes the OpenAPI 3.1 document of some services, from descriptors that still have their comments.
#ifndef PARLEY_LIB_REST_OPEN_API_H_
#define PARLEY_LIB_REST_OPEN_API_H_

#include <string>

#include "absl/strings/string_view.h"
#include "lib/rest/routes.h"

namespace parley::rest {

// Returns JSON that says of every route what lib/rest does: names and types as in protobuf's JSON mapping, streams as
// lines.
std::string OpenApi(const Routes& routes, absl::string_view title);

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_OPEN_API_H_
