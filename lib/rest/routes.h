// Finds the RPC that an HTTP request means, by the google.api.http options of the services.
//
// Threads: const methods may be called from any thread.
#ifndef PARLEY_LIB_REST_ROUTES_H_
#define PARLEY_LIB_REST_ROUTES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "lib/rest/path_template.h"

namespace parley::rest {

struct Route {
  const google::protobuf::MethodDescriptor* rpc = nullptr;
  // "/parley.task.v1.TaskService/GetTask".
  std::string rpc_path;
  // "GET".
  std::string http_method;
  PathTemplate path;
  // Where the body goes: "*" is the whole request, a name is a field of it, and an empty text means that there is no
  // body.
  std::string body;
};

class Routes {
 public:
  // Returns the routes of all RPCs of the services, given by their full names, that have the option. Returns
  // INVALID_ARGUMENT: SERVICE_UNKNOWN, PATH_TEMPLATE, or HTTP_RULE for a variable that is not a string field of the
  // request, a body that is not a field, or a conversation in both directions, which HTTP/1.1 cannot carry.
  static absl::StatusOr<Routes> Of(const std::vector<std::string>& services,
                                   const google::protobuf::DescriptorPool* pool);

  struct Found {
    // Null if there is none.
    const Route* route = nullptr;
    Variables variables;
    // The methods of the routes with this path, if the method alone did not match: "GET, POST".
    std::string allow;
  };
  // `path` comes without its query.
  Found Find(absl::string_view http_method, absl::string_view path) const;

  const std::vector<Route>& all() const { return routes_; }

 private:
  std::vector<Route> routes_;
};

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_ROUTES_H_
