#include "lib/rest/open_api.h"

#include <map>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/log.h"
#include "lib/keys/roles.h"
#include "parley/access/v1/access.pb.h"

namespace parley::rest {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::MethodDescriptor;

// What protobuf's JSON mapping has a form of its own for.
const std::map<std::string, std::string>& WellKnown() {
  static const auto* const kForms = new std::map<std::string, std::string>{
      {"google.protobuf.Timestamp", R"("type":"string","format":"date-time")"},
      {"google.protobuf.Duration", R"("type":"string","pattern":"^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$")"},
  };
  return *kForms;
}

// google.rpc.Status, as errors are sent.
constexpr char kStatusSchema[] =
    R"("Status":{"type":"object","description":"Why a request failed.","properties":{)"
    R"("code":{"type":"integer","format":"int32","description":"As in google/rpc/code.proto."},)"
    R"("message":{"type":"string","description":"What happened, to what, and what to do next."},)"
    R"("details":{"type":"array","description":"One google.rpc.ErrorInfo, whose reason names the cause.",)"
    R"("items":{"type":"object","properties":{"@type":{"type":"string"}},"additionalProperties":true}}}})";

template <typename Described>
std::string Comment(const Described& what) {
  google::protobuf::SourceLocation location;
  if (!what.GetSourceLocation(&location)) return "";
  const std::string& text = location.leading_comments.empty() ? location.trailing_comments : location.leading_comments;
  std::vector<std::string> lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    lines.emplace_back(absl::StripAsciiWhitespace(line));
  }
  return std::string(absl::StripAsciiWhitespace(absl::StrJoin(lines, "\n")));
}

template <typename Described>
std::string Description(const Described& what) {
  const std::string comment = Comment(what);
  return comment.empty() ? "" : absl::StrCat(",\"description\":", JsonString(comment));
}

class Document {
 public:
  std::string Write(const Routes& routes, absl::string_view title);

 private:
  // The members of a schema object, without its braces.
  std::string Type(const FieldDescriptor& field);
  std::string Single(const FieldDescriptor& field);
  std::string Reference(const Descriptor& type);
  std::string Message(const Descriptor& type);
  std::string Operation(const Route& route);
  std::string Parameters(const Route& route);
  std::string Answer(const MethodDescriptor& rpc);

  std::map<std::string, std::string> schemas_;
  std::set<std::string> begun_;
};

std::string Document::Reference(const Descriptor& type) {
  if (const auto known = WellKnown().find(type.full_name()); known != WellKnown().end()) return known->second;
  if (begun_.insert(type.full_name()).second) schemas_[type.full_name()] = Message(type);
  return absl::StrCat("\"$ref\":\"#/components/schemas/", type.full_name(), "\"");
}

std::string Document::Message(const Descriptor& type) {
  std::vector<std::string> properties;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    properties.push_back(absl::StrCat(JsonString(field.json_name()), ":{", Type(field), Description(field), "}"));
  }
  return absl::StrCat("{\"type\":\"object\"", Description(type), ",\"properties\":{", absl::StrJoin(properties, ","),
                      "},\"additionalProperties\":false}");
}

std::string Document::Type(const FieldDescriptor& field) {
  if (field.is_map()) {
    return absl::StrCat("\"type\":\"object\",\"additionalProperties\":{", Single(*field.message_type()->map_value()),
                        "}");
  }
  if (field.is_repeated()) return absl::StrCat("\"type\":\"array\",\"items\":{", Single(field), "}");
  return Single(field);
}

std::string Document::Single(const FieldDescriptor& field) {
  // By the names of AIP-155 and AIP-158; every service has these rules.
  if (field.name() == "request_id") return R"("type":"string","format":"uuid")";
  if (field.name() == "page_size") return R"("type":"integer","format":"int32","minimum":0,"maximum":1000)";
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return R"("type":"boolean")";
    case FieldDescriptor::CPPTYPE_INT32:
      return R"("type":"integer","format":"int32","minimum":-2147483648,"maximum":2147483647)";
    case FieldDescriptor::CPPTYPE_UINT32:
      return R"("type":"integer","format":"uint32","minimum":0,"maximum":4294967295)";
    case FieldDescriptor::CPPTYPE_INT64:
      return R"("type":"string","format":"int64","pattern":"^-?[0-9]{1,18}$")";
    case FieldDescriptor::CPPTYPE_UINT64:
      return R"("type":"string","format":"uint64","pattern":"^[0-9]{1,19}$")";
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      return R"("type":"number")";
    case FieldDescriptor::CPPTYPE_ENUM: {
      std::vector<std::string> names;
      const EnumDescriptor& type = *field.enum_type();
      for (int i = 0; i < type.value_count(); ++i) names.push_back(JsonString(type.value(i)->name()));
      return absl::StrCat("\"type\":\"string\",\"enum\":[", absl::StrJoin(names, ","), "]");
    }
    case FieldDescriptor::CPPTYPE_STRING:
      if (field.type() == FieldDescriptor::TYPE_BYTES) {
        return R"("type":"string","format":"byte","contentEncoding":"base64")";
      }
      return R"("type":"string")";
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return Reference(*field.message_type());
  }
  return "";
}

bool HasEtag(const Descriptor& type) { return type.FindFieldByName("etag") != nullptr; }

// "tasks" names one "task".
std::string Singular(absl::string_view plural) { return std::string(absl::StripSuffix(plural, "s")); }

// "/v1/tasks/{task}:pause", and the names in it.
std::string PathOf(const Route& route, std::vector<std::string>* names) {
  std::string path;
  const std::vector<std::string>& segments = route.path.segments();
  for (size_t i = 0; i < segments.size(); ++i) {
    if (segments[i] != "*") {
      absl::StrAppend(&path, "/", segments[i]);
      continue;
    }
    names->push_back(Singular(i > 0 ? segments[i - 1] : "name"));
    absl::StrAppend(&path, "/{", names->back(), "}");
  }
  if (!route.path.verb().empty()) absl::StrAppend(&path, ":", route.path.verb());
  return path;
}

std::string Document::Parameters(const Route& route) {
  std::vector<std::string> parameters;
  std::vector<std::string> names;
  PathOf(route, &names);
  for (const std::string& name : names) {
    parameters.push_back(absl::StrCat("{\"name\":", JsonString(name),
                                      ",\"in\":\"path\",\"required\":true,\"schema\":{\"type\":\"string\",",
                                      R"("pattern":"^[A-Za-z0-9._-]{1,64}$"}})"));
  }
  const Descriptor& request = *route.rpc->input_type();
  std::set<std::string> elsewhere;
  for (const PathTemplate::Variable& variable : route.path.variables()) elsewhere.insert(variable.field);
  for (int i = 0; i < request.field_count() && route.body.empty(); ++i) {
    const FieldDescriptor& field = *request.field(i);
    if (elsewhere.count(field.name()) > 0) continue;
    const absl::string_view style = field.is_map() ? ",\"style\":\"deepObject\",\"explode\":true" : "";
    parameters.push_back(absl::StrCat("{\"name\":", JsonString(field.json_name()), ",\"in\":\"query\"", style,
                                      ",\"schema\":{", Type(field), "}", Description(field), "}"));
  }
  if (!route.body.empty() && HasEtag(request)) {
    parameters.push_back(
        R"({"name":"If-Match","in":"header","description":"The ETag as it was seen, in place of etag in the body; )"
        R"(412 when it is no more.","schema":{"type":"string","pattern":"^\"[A-Za-z0-9_-]{1,64}\"$"}})");
  }
  if (route.http_method == "GET" && !route.rpc->server_streaming() && HasEtag(*route.rpc->output_type())) {
    parameters.push_back(
        R"({"name":"If-None-Match","in":"header","description":"The ETag as it was seen; 304 when it still holds.",)"
        R"("schema":{"type":"string"}})");
  }
  return absl::StrJoin(parameters, ",");
}

std::string Document::Answer(const MethodDescriptor& rpc) {
  const std::string answer = absl::StrCat("{", Reference(*rpc.output_type()), "}");
  if (!rpc.server_streaming()) {
    const absl::string_view headers =
        HasEtag(*rpc.output_type())
            ? R"("headers":{"ETag":{"description":"The etag, for If-Match.","schema":{"type":"string"}}},)"
            : "";
    return absl::StrCat(R"({"description":"Done.",)", headers, R"("content":{"application/json":{"schema":)", answer,
                        "}}}");
  }
  return absl::StrCat(
      R"({"description":"One JSON object a line until the stream ends; the last one may be an error.",)",
      R"("content":{"application/x-ndjson":{"schema":{"type":"object","properties":{"result":)", answer,
      R"(,"error":{"$ref":"#/components/schemas/Status"}}}}}})");
}

std::string Document::Operation(const Route& route) {
  const MethodDescriptor& rpc = *route.rpc;
  std::vector<std::string> roles;
  for (const int role : rpc.options().GetExtension(access::v1::access).roles()) {
    roles.push_back(keys::RoleName(static_cast<access::v1::Role>(role)));
  }
  std::string text = absl::StrCat(
      "\"operationId\":", JsonString(absl::StrCat(rpc.service()->name(), "_", rpc.name())), ",\"tags\":[",
      JsonString(rpc.service()->name()),
      "],\"description\":", JsonString(absl::StrCat(Comment(rpc), "\n\nRoles: ", absl::StrJoin(roles, ", "), ".")),
      ",\"parameters\":[", Parameters(route), "]");
  if (!route.body.empty()) {
    const Descriptor* body = rpc.input_type();
    if (route.body != "*") body = body->FindFieldByName(route.body)->message_type();
    const absl::string_view type = rpc.client_streaming() ? "application/x-ndjson" : "application/json";
    absl::StrAppend(&text, ",\"requestBody\":{\"required\":false,\"content\":{\"", type, "\":{\"schema\":{",
                    Reference(*body), "}}}}");
  }
  absl::StrAppend(&text, ",\"responses\":{\"200\":", Answer(rpc),
                  R"(,"default":{"description":"Why it failed.","content":{"application/json":{"schema":)",
                  R"({"$ref":"#/components/schemas/Status"}}}}})");
  return text;
}

std::string Document::Write(const Routes& routes, absl::string_view title) {
  std::map<std::string, std::vector<std::string>> paths;
  for (const Route& route : routes.all()) {
    std::vector<std::string> names;
    paths[PathOf(route, &names)].push_back(
        absl::StrCat(JsonString(absl::AsciiStrToLower(route.http_method)), ":{", Operation(route), "}"));
  }
  std::vector<std::string> written;
  for (const auto& [path, operations] : paths) {
    written.push_back(absl::StrCat(JsonString(path), ":{", absl::StrJoin(operations, ",\n"), "}"));
  }
  std::vector<std::string> schemas = {kStatusSchema};
  for (const auto& [name, schema] : schemas_) schemas.push_back(absl::StrCat(JsonString(name), ":", schema));
  return absl::StrCat(
      R"({"openapi":"3.1.0","info":{"title":)", JsonString(title),
      R"(,"version":"v1","description":"The gRPC API as JSON over HTTP/1.1, with a certificate of an exported )",
      R"(credential. 64-bit numbers are strings, bytes are base 64."},"security":[{"mutualTLS":[]}],"paths":{)", "\n",
      absl::StrJoin(written, ",\n"), "\n", R"(},"components":{"securitySchemes":{"mutualTLS":{"type":"mutualTLS",)",
      R"("description":"client.pem and client.key of parley credentials export."}},"schemas":{)", "\n",
      absl::StrJoin(schemas, ",\n"), "\n}}}\n");
}

}  // namespace

std::string OpenApi(const Routes& routes, absl::string_view title) { return Document().Write(routes, title); }

}  // namespace parley::rest
