#include "lib/rest/routes.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/api/annotations.pb.h"
#include "lib/base/error.h"

namespace parley::rest {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::MethodDescriptor;

absl::Status RuleError(const MethodDescriptor& rpc, absl::string_view what) {
  return InvalidArgument("HTTP_RULE", "the google.api.http option of ", rpc.full_name(), " is wrong: ", what);
}

std::pair<std::string, std::string> MethodAndPath(const google::api::HttpRule& rule) {
  switch (rule.pattern_case()) {
    case google::api::HttpRule::kGet:
      return {"GET", rule.get()};
    case google::api::HttpRule::kPut:
      return {"PUT", rule.put()};
    case google::api::HttpRule::kPost:
      return {"POST", rule.post()};
    case google::api::HttpRule::kDelete:
      return {"DELETE", rule.delete_()};
    case google::api::HttpRule::kPatch:
      return {"PATCH", rule.patch()};
    default:
      return {};
  }
}

absl::StatusOr<Route> MakeRoute(const MethodDescriptor& rpc, const google::api::HttpRule& rule) {
  if (rpc.client_streaming() && rpc.server_streaming()) {
    return RuleError(rpc, "HTTP/1.1 cannot carry both directions at once");
  }
  Route route;
  route.rpc = &rpc;
  route.rpc_path = absl::StrCat("/", rpc.service()->full_name(), "/", rpc.name());
  route.body = rule.body();
  const auto [method, path] = MethodAndPath(rule);
  if (method.empty()) return RuleError(rpc, "it names no method that Parley serves");
  route.http_method = method;
  ASSIGN_OR_RETURN(route.path, PathTemplate::Parse(path));
  for (const PathTemplate::Variable& variable : route.path.variables()) {
    const FieldDescriptor* const field = rpc.input_type()->FindFieldByName(variable.field);
    if (field == nullptr || field->is_repeated() || field->type() != FieldDescriptor::TYPE_STRING) {
      return RuleError(rpc, absl::StrCat(variable.field, " is not a string field of the request"));
    }
  }
  if (!route.body.empty() && route.body != "*") {
    const FieldDescriptor* const field = rpc.input_type()->FindFieldByName(route.body);
    if (field == nullptr || field->is_repeated() || field->message_type() == nullptr) {
      return RuleError(rpc, absl::StrCat("the body ", route.body, " is not a message field of the request"));
    }
  }
  return route;
}

}  // namespace

absl::StatusOr<Routes> Routes::Of(const std::vector<std::string>& services,
                                  const google::protobuf::DescriptorPool* pool) {
  Routes routes;
  for (const std::string& name : services) {
    const google::protobuf::ServiceDescriptor* const service = pool->FindServiceByName(name);
    if (service == nullptr) {
      return InvalidArgument("SERVICE_UNKNOWN", "there is no service ", name,
                             " in this program; link its proto library");
    }
    for (int i = 0; i < service->method_count(); ++i) {
      const MethodDescriptor& rpc = *service->method(i);
      if (!rpc.options().HasExtension(google::api::http)) continue;
      const google::api::HttpRule& rule = rpc.options().GetExtension(google::api::http);
      ASSIGN_OR_RETURN(Route route, MakeRoute(rpc, rule));
      routes.routes_.push_back(std::move(route));
      for (const google::api::HttpRule& further : rule.additional_bindings()) {
        ASSIGN_OR_RETURN(Route other, MakeRoute(rpc, further));
        routes.routes_.push_back(std::move(other));
      }
    }
  }
  return routes;
}

Routes::Found Routes::Find(absl::string_view http_method, absl::string_view path) const {
  Found found;
  for (const Route& route : routes_) {
    std::optional<Variables> variables = route.path.Match(path);
    if (!variables.has_value()) continue;
    if (route.http_method == http_method) {
      found.route = &route;
      found.variables = *std::move(variables);
      return found;
    }
    if (!absl::StrContains(found.allow, route.http_method)) {
      absl::StrAppend(&found.allow, found.allow.empty() ? "" : ", ", route.http_method);
    }
  }
  return found;
}

}  // namespace parley::rest
