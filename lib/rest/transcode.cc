#include "lib/rest/transcode.h"

#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/util/json_util.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/utf8.h"

namespace parley::rest {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MessageFactory;

// The limit for a field's name, or the parser's sentence, in an error: enough to find the place.
constexpr size_t kMaxQuotedBytes = 200;

std::string Quoted(absl::string_view text) { return JsonString(text.substr(0, kMaxQuotedBytes)); }

std::unique_ptr<Message> New(const Descriptor& type) {
  return std::unique_ptr<Message>(MessageFactory::generated_factory()->GetPrototype(&type)->New());
}

absl::Status ParseJson(absl::string_view json, Message* message) {
  if (!IsUtf8(json)) return InvalidArgument("JSON_MALFORMED", "the body is not UTF-8; send JSON as UTF-8");
  const auto status = google::protobuf::util::JsonStringToMessage(std::string(json), message);
  if (status.ok()) return absl::OkStatus();
  const std::string said(status.message());
  // The first line says what; the others draw an arrow below a copy of the input, which may hold a secret.
  return InvalidArgument("JSON_MALFORMED", "the body is not the JSON of a ", message->GetDescriptor()->full_name(),
                         ": ", said.substr(0, std::min(said.find('\n'), kMaxQuotedBytes)), "; see /openapi.json");
}

// By its name in the .proto file or in JSON.
const FieldDescriptor* FindField(const Descriptor& type, absl::string_view name) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* const field = type.field(i);
    if (field->name() == name || field->json_name() == name) return field;
  }
  return nullptr;
}

// "a.b=value", "repeated=value", "map[key]=value". In JSON every scalar may be a string, so the parser does the rest.
absl::Status SetFromQuery(absl::string_view name, absl::string_view value, std::set<std::string>* seen,
                          Message* message) {
  absl::string_view rest = name;
  std::optional<absl::string_view> key;
  if (const size_t bracket = rest.find('['); bracket != absl::string_view::npos && absl::EndsWith(rest, "]")) {
    key = rest.substr(bracket + 1, rest.size() - bracket - 2);
    rest = rest.substr(0, bracket);
  }
  const std::vector<absl::string_view> path = absl::StrSplit(rest, '.');
  std::string canonical;
  const FieldDescriptor* field = nullptr;
  for (size_t i = 0; i < path.size(); ++i) {
    field = FindField(*message->GetDescriptor(), path[i]);
    if (field == nullptr || (i + 1 < path.size() && (field->is_repeated() || field->message_type() == nullptr))) {
      return InvalidArgument("QUERY_UNKNOWN", "the query parameter ", Quoted(name),
                             " is no field of the request; see /openapi.json");
    }
    absl::StrAppend(&canonical, field->name(), ".");
    if (i + 1 < path.size()) message = message->GetReflection()->MutableMessage(message, field);
  }
  if (key.has_value() != field->is_map()) {
    return InvalidArgument("QUERY_MALFORMED", "write the query parameter ", Quoted(name), " as ",
                           field->is_map() ? "map[key]=value" : "name=value");
  }
  if (!field->is_repeated() && !seen->insert(canonical).second) {
    return InvalidArgument("QUERY_REPEATED", "the query parameter ", Quoted(name), " is given twice");
  }
  std::string json = JsonString(value);
  if (field->is_map()) {
    json = absl::StrCat("{", JsonString(*key), ":", json, "}");
  } else if (field->is_repeated()) {
    json = absl::StrCat("[", json, "]");
  }
  const std::unique_ptr<Message> part = New(*message->GetDescriptor());
  if (!ParseJson(absl::StrCat("{", JsonString(field->json_name()), ":", json, "}"), part.get()).ok()) {
    return InvalidArgument("QUERY_MALFORMED", "the query parameter ", Quoted(name), " cannot be ", Quoted(value),
                           "; see /openapi.json");
  }
  message->MergeFrom(*part);
  return absl::OkStatus();
}

absl::Status AddQuery(const HttpCall& call, Message* request) {
  if (call.query.empty()) return absl::OkStatus();
  std::set<std::string> seen;
  for (const PathTemplate::Variable& variable : call.route->path.variables()) seen.insert(variable.field + ".");
  for (const absl::string_view parameter : absl::StrSplit(call.query, '&', absl::SkipEmpty())) {
    if (call.route->body == "*") {
      return InvalidArgument("QUERY_UNKNOWN", "this request takes no query parameters; put every field into the body");
    }
    const size_t equals = parameter.find('=');
    const std::optional<std::string> name = Unescape(parameter.substr(0, equals), /*query=*/true);
    const std::optional<std::string> value = Unescape(
        equals == absl::string_view::npos ? absl::string_view() : parameter.substr(equals + 1), /*query=*/true);
    if (!name.has_value() || !value.has_value()) {
      return InvalidArgument("QUERY_MALFORMED", "the query parameter ", Quoted(parameter),
                             " has a malformed escape, or is not UTF-8");
    }
    if (call.route->body == *name || absl::StartsWith(*name, call.route->body + ".")) {
      if (!call.route->body.empty()) {
        return InvalidArgument("QUERY_UNKNOWN", "put ", Quoted(call.route->body), " into the body");
      }
    }
    RETURN_IF_ERROR(SetFromQuery(*name, *value, &seen, request));
  }
  return absl::OkStatus();
}

// Path and body may both have the field, but they must agree.
absl::Status SetString(absl::string_view field_name, const std::string& value, absl::string_view reason,
                       absl::string_view sentence, Message* request) {
  const FieldDescriptor* const field = request->GetDescriptor()->FindFieldByName(std::string(field_name));
  const std::string before = request->GetReflection()->GetString(*request, field);
  if (!before.empty() && before != value) return InvalidArgument(reason, sentence);
  request->GetReflection()->SetString(request, field, value);
  return absl::OkStatus();
}

absl::Status SetIfMatch(const HttpCall& call, Message* request) {
  if (call.if_match.empty()) return absl::OkStatus();
  const FieldDescriptor* const field = request->GetDescriptor()->FindFieldByName("etag");
  if (field == nullptr || field->type() != FieldDescriptor::TYPE_STRING || field->is_repeated()) {
    return InvalidArgument("IF_MATCH_NOT_SUPPORTED", "this request takes no If-Match; send it without");
  }
  return SetString("etag", call.if_match, "IF_MATCH_DIFFERS",
                   "If-Match and the body's etag differ; send one of the two", request);
}

absl::StatusOr<std::string> ToRequest(const HttpCall& call, absl::string_view body) {
  const std::unique_ptr<Message> request = New(*call.route->rpc->input_type());
  if (call.route->body.empty() && !body.empty()) {
    return InvalidArgument("BODY_NOT_WANTED", "this request takes no body; send its fields in the query");
  }
  if (!body.empty()) {
    Message* into = request.get();
    if (call.route->body != "*") {
      into = request->GetReflection()->MutableMessage(request.get(),
                                                      request->GetDescriptor()->FindFieldByName(call.route->body));
    }
    RETURN_IF_ERROR(ParseJson(body, into));
  }
  RETURN_IF_ERROR(AddQuery(call, request.get()));
  for (const auto& [field, value] : call.variables) {
    RETURN_IF_ERROR(SetString(field, value, "PATH_DIFFERS",
                              absl::StrCat("the body's ", field, " is not that of the path; leave it out of the body"),
                              request.get()));
  }
  RETURN_IF_ERROR(SetIfMatch(call, request.get()));
  return request->SerializeAsString();
}

// A detail of a type that this program does not know cannot be written; the rest can.
std::string Print(const google::rpc::Status& status) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string json;
  if (google::protobuf::util::MessageToJsonString(status, &json, options).ok()) return json;
  return absl::StrCat("{\"code\":", status.code(), ",\"message\":", JsonString(status.message()), ",\"details\":[]}");
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ToRequests(const HttpCall& call) {
  std::vector<std::string> requests;
  if (!call.route->rpc->client_streaming()) {
    ASSIGN_OR_RETURN(std::string request, ToRequest(call, call.body));
    requests.push_back(std::move(request));
    return requests;
  }
  for (absl::string_view line : absl::StrSplit(call.body, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    ASSIGN_OR_RETURN(std::string request, ToRequest(call, line));
    requests.push_back(std::move(request));
  }
  return requests;
}

absl::StatusOr<JsonAnswer> ToJson(const Descriptor& type, absl::string_view serialized) {
  const std::unique_ptr<Message> message = New(type);
  google::protobuf::util::JsonPrintOptions options;
  // A field that is false or 0 is shown too, as in grpc-gateway.
  options.always_print_primitive_fields = true;
  JsonAnswer answer;
  if (!message->ParseFromArray(serialized.data(), static_cast<int>(serialized.size())) ||
      !google::protobuf::util::MessageToJsonString(*message, &answer.json, options).ok()) {
    return Error(absl::StatusCode::kInternal, "ANSWER_MALFORMED", "the answer cannot be written as JSON; use gRPC");
  }
  if (const FieldDescriptor* const etag = type.FindFieldByName("etag");
      etag != nullptr && etag->type() == FieldDescriptor::TYPE_STRING && !etag->is_repeated()) {
    answer.etag = message->GetReflection()->GetString(*message, etag);
  }
  return answer;
}

int HttpStatus(grpc::StatusCode code) {
  // In the order of the codes, from OK to UNAUTHENTICATED.
  static constexpr int kByCode[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                    400, 409, 400, 501, 500, 503, 500, 401};
  return code >= 0 && static_cast<size_t>(code) < std::size(kByCode) ? kByCode[code] : 500;
}

std::string StatusJson(const grpc::Status& status) {
  google::rpc::Status wire;
  if (!wire.ParseFromString(status.error_details()) || wire.code() != status.error_code()) {
    wire.Clear();
    wire.set_code(status.error_code());
    wire.set_message(status.error_message());
  }
  return Print(wire);
}

std::string StatusJson(const absl::Status& status) {
  google::rpc::ErrorInfo info;
  info.set_domain("parley");
  info.set_reason(Reason(status));
  google::rpc::Status wire;
  wire.set_code(static_cast<int>(status.code()));
  wire.set_message(std::string(status.message()));
  wire.add_details()->PackFrom(info);
  return Print(wire);
}

}  // namespace parley::rest
