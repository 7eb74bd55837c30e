#include <future>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/message_differencer.h"
#include "google/rpc/status.pb.h"
#include "lib/rest/backend.h"
#include "lib/rest/gzip.h"
#include "lib/rest/rest_testing.h"
#include "lib/rest/routes.h"
#include "parley/enrol/v1/exchange_service.pb.h"
#include "parley/enrol/v1/invitation_service.pb.h"
#include "parley/key/v1/key_service.pb.h"
#include "parley/task/v1/artifact_service.pb.h"
#include "parley/task/v1/participation_service.pb.h"
#include "parley/task/v1/task_service.pb.h"
#include "parley/trust/v1/trust_service.pb.h"

namespace parley::rest {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MessageFactory;

const google::protobuf::DescriptorPool* Pool() {
  // Links every file in.
  task::v1::Task::descriptor();
  task::v1::UploadChunksRequest::descriptor();
  task::v1::JoinRequest::descriptor();
  task::v1::GetTaskRequest::descriptor();
  key::v1::AuditEvent::descriptor();
  trust::v1::EnrolRequest::descriptor();
  enrol::v1::Invitation::descriptor();
  enrol::v1::ExchangeRequest::descriptor();
  return google::protobuf::DescriptorPool::generated_pool();
}

const std::vector<std::string>& Services() {
  static const auto* const kAll = new std::vector<std::string>{
      "parley.task.v1.TaskService",     "parley.task.v1.ArtifactService", "parley.task.v1.ParticipationService",
      "parley.key.v1.KeyService",       "parley.trust.v1.TrustService",   "parley.enrol.v1.InvitationService",
      "parley.enrol.v1.ExchangeService"};
  return *kAll;
}

std::unique_ptr<Message> New(const google::protobuf::Descriptor& type) {
  return std::unique_ptr<Message>(MessageFactory::generated_factory()->GetPrototype(&type)->New());
}

std::string Json(const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string json;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(message, &json, options).ok());
  return json;
}

// Sets a field to something that is not its default, `salt` apart from others.
void Set(Message* message, const FieldDescriptor* field, int salt) {
  const auto* const reflection = message->GetReflection();
  const auto put = [&](auto set, auto add, auto value) {
    field->is_repeated() ? (reflection->*add)(message, field, value) : (reflection->*set)(message, field, value);
  };
  using R = google::protobuf::Reflection;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return put(&R::SetBool, &R::AddBool, true);
    case FieldDescriptor::CPPTYPE_INT32:
      return put(&R::SetInt32, &R::AddInt32, 100 + salt);
    case FieldDescriptor::CPPTYPE_UINT32:
      return put(&R::SetUInt32, &R::AddUInt32, 200u + salt);
    case FieldDescriptor::CPPTYPE_INT64:
      return put(&R::SetInt64, &R::AddInt64, int64_t{1} << (40 + salt % 4));
    case FieldDescriptor::CPPTYPE_UINT64:
      return put(&R::SetUInt64, &R::AddUInt64, uint64_t{1} << 60);
    case FieldDescriptor::CPPTYPE_ENUM:
      return put(&R::SetEnumValue, &R::AddEnumValue, 1 + salt % (field->enum_type()->value_count() - 1));
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text =
          field->type() == FieldDescriptor::TYPE_BYTES ? std::string("\xff\0\x01", 3) : absl::StrCat("ä \"&=+%", salt);
      if (field->is_repeated()) return reflection->AddString(message, field, text);
      return reflection->SetString(message, field, text);
    }
    default:
      return;
  }
}

void Fill(Message* message, int depth = 0) {
  const auto* const reflection = message->GetReflection();
  const std::string& type = message->GetDescriptor()->full_name();
  if (type == "google.protobuf.Timestamp" || type == "google.protobuf.Duration") {
    return reflection->SetInt64(message, message->GetDescriptor()->FindFieldByName("seconds"), 86'400);
  }
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* const field = message->GetDescriptor()->field(i);
    // One of each oneof.
    if (field->containing_oneof() != nullptr && field->containing_oneof()->field(0) != field) continue;
    if (field->message_type() == nullptr) {
      Set(message, field, i);
    } else if (depth < 5) {
      Fill(field->is_repeated() ? reflection->AddMessage(message, field) : reflection->MutableMessage(message, field),
           depth + 1);
    }
  }
}

std::string Escaped(absl::string_view text) {
  std::string escaped;
  for (const unsigned char byte : text) absl::StrAppend(&escaped, "%", absl::Hex(byte, absl::kZeroPad2));
  return escaped;
}

// The query for what a request with no body has, by the text of its JSON.
std::string Query(const Message& request, const Variables& skip) {
  std::vector<std::string> parameters;
  std::vector<const FieldDescriptor*> fields;
  request.GetReflection()->ListFields(request, &fields);
  for (const FieldDescriptor* const field : fields) {
    if (std::any_of(skip.begin(), skip.end(), [&](const auto& each) { return each.first == field->name(); })) continue;
    const auto alone = New(*request.GetDescriptor());
    alone->CopyFrom(request);
    for (const FieldDescriptor* const other : fields) {
      if (other != field) alone->GetReflection()->ClearField(alone.get(), other);
    }
    std::string json;
    EXPECT_TRUE(google::protobuf::util::MessageToJsonString(*alone, &json).ok());
    // {"name":"value"}, {"name":7}, {"name":["value"]}, {"name":{"key":"value"}}
    json = json.substr(json.find(':') + 1);
    json.pop_back();
    std::string name = field->json_name();
    if (field->is_map()) {
      const Message& entry = request.GetReflection()->GetRepeatedMessage(request, field, 0);
      const auto get = [&](int index) {
        return entry.GetReflection()->GetString(entry, entry.GetDescriptor()->field(index));
      };
      parameters.push_back(absl::StrCat(name, "[", Escaped(get(0)), "]=", Escaped(get(1))));
      continue;
    }
    const std::string value = absl::StrReplaceAll(json, {{"\\\"", "\""}, {"\"", ""}, {"[", ""}, {"]", ""}});
    parameters.push_back(absl::StrCat(name, "=", Escaped(value)));
  }
  return absl::StrJoin(parameters, "&");
}

TEST(Routes, EveryRpcHasOneThatHttpCanCarry) {
  for (const std::string& name : Services()) {
    const auto* const service = Pool()->FindServiceByName(name);
    ASSERT_NE(service, nullptr) << name;
    const auto routes = Routes::Of({name}, Pool());
    ASSERT_TRUE(routes.ok()) << routes.status();
    for (int i = 0; i < service->method_count(); ++i) {
      const auto* const rpc = service->method(i);
      const bool routed = std::any_of(routes->all().begin(), routes->all().end(),
                                      [rpc](const Route& route) { return route.rpc == rpc; });
      EXPECT_EQ(routed, !(rpc->client_streaming() && rpc->server_streaming())) << rpc->full_name();
    }
  }
}

TEST_F(RestTest, EveryRouteAnswersLikeItsRpcFieldForField) {
  Start();
  const auto routes = Routes::Of(Services(), Pool());
  ASSERT_TRUE(routes.ok()) << routes.status();
  for (const Route& route : routes->all()) {
    SCOPED_TRACE(route.rpc_path);
    const std::string path =
        absl::StrCat("/", absl::StrReplaceAll(absl::StrJoin(route.path.segments(), "/"), {{"*", "x-1"}}),
                     route.path.verb().empty() ? "" : ":", route.path.verb());
    const auto request = New(*route.rpc->input_type());
    Fill(request.get());
    const auto variables = route.path.Match(path);
    ASSERT_TRUE(variables.has_value());
    for (const auto& [field, value] : *variables) {
      request->GetReflection()->SetString(request.get(), request->GetDescriptor()->FindFieldByName(field), value);
    }
    const auto answer = New(*route.rpc->output_type());
    Fill(answer.get());
    service_.Answer({{answer->SerializeAsString()}});
    const bool get = route.body.empty();
    const std::string target = get ? absl::StrCat(path, "?", Query(*request, *variables)) : path;
    const std::string answered = Raw(Text(route.http_method, target, get ? "" : Json(*request)));
    ASSERT_EQ(StatusOf(answered), 200) << answered;
    if (route.rpc->server_streaming()) {
      EXPECT_TRUE(absl::StrContains(answered, absl::StrCat("{\"result\":", Json(*answer), "}\n"))) << answered;
    } else {
      EXPECT_EQ(BodyOf(answered), Json(*answer) + "\n");
    }
    const RpcCall call = service_.calls().back();
    EXPECT_EQ(call.method, route.rpc_path);
    ASSERT_EQ(call.requests.size(), 1);
    const auto received = New(*route.rpc->input_type());
    ASSERT_TRUE(received->ParseFromString(call.requests[0]));
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*received, *request))
        << received->DebugString() << "instead of\n"
        << request->DebugString();
  }
}

TEST_F(RestTest, CallsAreTheConnectionsPeers) {
  Start();
  service_.Answer({{""}});
  for (const std::string name : {"alice", "bob"}) {
    EXPECT_EQ(StatusOf(Raw(Text("GET", "/v1/tasks/a"), name)), 200);
    ASSERT_NE(service_.calls().back().peer, nullptr);
    EXPECT_EQ(service_.calls().back().peer->key.subject, name);
  }
}

TEST_F(RestTest, SeveralRequestsShareAConnection) {
  Start();
  service_.Answer({{""}});
  const auto client = Connect();
  const std::string request = "GET /v1/tasks/a HTTP/1.1\r\nHost: h\r\n\r\n";
  client->Write(request + request + Text("GET", "/openapi.json"));
  const std::string answers = ReadToEnd(client.get());
  EXPECT_EQ(service_.calls().size(), 2);
  EXPECT_TRUE(absl::EndsWith(answers, "{\"openapi\":\"3.1.0\"}\n")) << answers;
}

TEST_F(RestTest, NobodyWithoutAKeyIsAnswered) {
  Start();
  const crypto::EcKey key = transport::EcKeyOf("mallory");
  transport::TlsClient::Options options = transport::TlsClient::Certificate("mallory", key);
  options.alpn = {"http/1.1"};
  transport::TlsClient stranger(door_->listener().address(), std::move(options));
  stranger.Handshake();
  stranger.Write(Text("GET", "/v1/tasks/a"));
  EXPECT_EQ(ReadToEnd(&stranger), "");
  EXPECT_TRUE(service_.calls().empty());
}

TEST_F(RestTest, ARevokedKeyEndsItsStream) {
  Start();
  service_.Answer({{""}, grpc::Status::OK, /*hold=*/true});
  const auto client = Connect();
  client->Write(Text("GET", "/v1/tasks/a:watch"));
  EXPECT_TRUE(absl::StartsWith(client->Read(), "HTTP/1.1 200"));
  keys_.Revoke("alice");
  EXPECT_EQ(door_->listener().CloseKey("alice"), 1);
  service_.WaitForCancel();
  ReadToEnd(client.get());
}

TEST_F(RestTest, AStreamThatItsReaderLeavesIsCanceled) {
  Start();
  service_.Answer({{"", ""}, grpc::Status::OK, /*hold=*/true});
  {
    const auto client = Connect();
    client->Write(Text("GET", "/v1/tasks/a:watch?cursor=7"));
    EXPECT_TRUE(absl::StartsWith(client->Read(), "HTTP/1.1 200"));
  }
  service_.WaitForCancel();
}

// Let go on a thread of gRPC, with its channel, it would take that thread's queue away under it.
TEST_F(RestTest, ACallIsLetGoByWhomItsEndIsTold) {
  Start();
  Backend backend([this] { return door_->ConnectAs(transport::Peer{}); });
  std::promise<std::shared_ptr<BackendCall>> told;
  BackendCall::Events events;
  events.ended = [&told](const grpc::Status&, std::shared_ptr<BackendCall> call) { told.set_value(std::move(call)); };
  std::shared_ptr<BackendCall> call =
      BackendCall::Start(backend.stub(), "/any/Rpc", {""}, {}, absl::InfiniteFuture(), std::move(events));
  const std::weak_ptr<BackendCall> watched = call;
  call.reset();
  std::shared_ptr<BackendCall> last = told.get_future().get();
  EXPECT_EQ(last.use_count(), 1);
  last.reset();
  EXPECT_TRUE(watched.expired());
}

TEST_F(RestTest, ErrorsAreStatusesWithTheirHttpCode) {
  Start();
  const std::vector<std::pair<grpc::StatusCode, int>> expected = {
      {grpc::StatusCode::INVALID_ARGUMENT, 400},  {grpc::StatusCode::UNAUTHENTICATED, 401},
      {grpc::StatusCode::PERMISSION_DENIED, 403}, {grpc::StatusCode::NOT_FOUND, 404},
      {grpc::StatusCode::ABORTED, 409},           {grpc::StatusCode::RESOURCE_EXHAUSTED, 429},
      {grpc::StatusCode::INTERNAL, 500},          {grpc::StatusCode::UNAVAILABLE, 503}};
  for (const auto& [code, http] : expected) {
    for (const std::string path : {"/v1/tasks/a", "/v1/tasks/a:watch"}) {
      service_.Answer({{}, grpc::Status(code, "what happened")});
      const std::string answered = Raw(Text("GET", path));
      EXPECT_EQ(StatusOf(answered), http) << answered;
      EXPECT_TRUE(absl::StrContains(answered, "\"message\":\"what happened\"")) << answered;
    }
  }
  service_.Answer({{""}, grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "compacted")});
  EXPECT_TRUE(absl::StrContains(Raw(Text("GET", "/v1/tasks/a:watch")), "{\"error\":{\"code\":11,"));
}

TEST_F(RestTest, EtagsTravelInHeaders) {
  Start();
  task::v1::Task task;
  task.set_etag("e1");
  service_.Answer({{task.SerializeAsString()}});
  EXPECT_TRUE(absl::StrContains(Raw(Text("GET", "/v1/tasks/a")), "ETag: \"e1\""));
  EXPECT_EQ(StatusOf(Raw(Text("GET", "/v1/tasks/a", "", "If-None-Match: \"e1\"\r\n"))), 304);
  EXPECT_EQ(StatusOf(Raw(Text("POST", "/v1/tasks/a:pause", "{}", "If-Match: \"e1\"\r\n"))), 200);
  task::v1::PauseTaskRequest pause;
  ASSERT_TRUE(pause.ParseFromString(service_.calls().back().requests[0]));
  EXPECT_EQ(pause.etag(), "e1");
  const std::string other = "{\"etag\":\"e2\"}";
  EXPECT_EQ(StatusOf(Raw(Text("POST", "/v1/tasks/a:pause", other, "If-Match: \"e1\"\r\n"))), 400);
  EXPECT_EQ(StatusOf(Raw(Text("POST", "/v1/tasks", "{}", "If-Match: \"e1\"\r\n"))), 400);
  service_.Answer({{}, grpc::Status(grpc::StatusCode::ABORTED, "it has changed")});
  EXPECT_EQ(StatusOf(Raw(Text("POST", "/v1/tasks/a:pause", "{}", "If-Match: \"e1\"\r\n"))), 412);
}

TEST_F(RestTest, BodiesMayBeGzipBothWays) {
  Start();
  task::v1::Task task;
  task.set_title(std::string(5000, 'a'));
  service_.Answer({{task.SerializeAsString()}});
  const std::string zipped = Gzip("{\"name\":\"tasks/a\"}");
  const std::string headers = "Accept-Encoding: br, gzip;q=0.8\r\nContent-Encoding: gzip\r\n";
  const std::string answered = Raw(Text("POST", "/v1/tasks/a:pause", zipped, headers));
  EXPECT_TRUE(absl::StrContains(answered, "Content-Encoding: gzip")) << answered;
  const auto plain = Gunzip(BodyOf(answered), 100'000);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(*plain, Json(task) + "\n");
  EXPECT_EQ(
      StatusOf(Raw(Text("POST", "/v1/tasks/a:pause", Gzip(std::string(8 << 20, ' ')), "Content-Encoding: gzip\r\n"))),
      413);
}

TEST_F(RestTest, StreamsMayBeGzip) {
  Start();
  task::v1::WatchTaskResponse event;
  event.mutable_task()->set_title(std::string(5000, 'a'));
  const std::string watch = Text("GET", "/v1/tasks/a:watch", "", "Accept-Encoding: gzip\r\n");
  service_.Answer({{event.SerializeAsString(), ""}, grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "compacted")});
  const std::string answered = Raw(watch);
  EXPECT_TRUE(absl::StrContains(answered, "Content-Encoding: gzip\r\n")) << answered;
  const auto plain = Gunzip(Joined(BodyOf(answered)), 100'000);
  ASSERT_TRUE(plain.ok()) << plain.status();
  const std::vector<std::string> lines = absl::StrSplit(*plain, '\n');
  ASSERT_EQ(lines.size(), 4) << *plain;
  EXPECT_EQ(lines[0], absl::StrCat("{\"result\":", Json(event), "}"));
  EXPECT_TRUE(absl::StartsWith(lines[2], "{\"error\":{\"code\":11,")) << lines[2];
  EXPECT_EQ(lines[3], "");
  EXPECT_FALSE(absl::StrContains(Raw(Text("GET", "/v1/tasks/a:watch")), "gzip"));
}

// Whoever reads along gets each answer when it is there, not when the compressor is full.
TEST_F(RestTest, AStreamOfGzipIsReadableAtEveryLine) {
  Start();
  service_.Answer({{""}, grpc::Status::OK, /*hold=*/true});
  const auto client = Connect();
  client->Write(Text("GET", "/v1/tasks/a:watch", "", "Accept-Encoding: gzip\r\n"));
  std::string answered;
  while (!absl::EndsWith(answered, std::string("\0\0\xff\xff\r\n", 6))) {
    const std::string piece = client->Read();
    ASSERT_FALSE(piece.empty()) << answered;
    answered += piece;
  }
}

TEST_F(RestTest, AStreamOfRequestsIsOneALine) {
  Start();
  service_.Answer({{""}});
  EXPECT_EQ(StatusOf(Raw(Text("POST", "/v1/chunks:upload", "{\"zstd\":\"AQ==\"}\n\n{\"zstd\":\"Ag==\"}\n"))), 200);
  EXPECT_EQ(service_.calls().back().requests, (std::vector<std::string>{"\x12\x01\x01", "\x12\x01\x02"}));
}

// Requests, and for each the codes of which one refuses it.
using Hostile = std::vector<std::pair<std::string, std::vector<int>>>;

std::string Post(const std::string& headers, const std::string& rest) {
  return absl::StrCat("POST /v1/tasks HTTP/1.1\r\nHost: h\r\nConnection: close\r\n", headers, "\r\n", rest);
}

std::string PostJson(const std::string& headers, const std::string& rest) {
  return Post("Content-Type: application/json\r\n" + headers, rest);
}

// More fields than a header may have.
std::string ManyFields() {
  std::string many;
  for (int i = 0; i < 100'000; ++i) absl::StrAppend(&many, "X-", i, ": 1\r\n");
  return many;
}

class HostileRequestTest : public RestTest {
 protected:
  // Each request gets one answer, and the server serves on.
  void ExpectRefused(const Hostile& hostile) {
    Start();
    service_.Answer({{""}});
    for (const auto& [request, codes] : hostile) {
      const std::string answered = Raw(request);
      EXPECT_TRUE(std::count(codes.begin(), codes.end(), StatusOf(answered))) << request.substr(0, 200) << "\n"
                                                                              << answered.substr(0, 500);
      // One answer: nothing that followed was taken for a request.
      EXPECT_EQ(answered.find("HTTP/1.1 ", 8), std::string::npos) << answered;
    }
    EXPECT_TRUE(service_.calls().empty()) << service_.calls()[0].method;
    ExpectServes();
  }
};

TEST_F(HostileRequestTest, ABodyWithoutOneLengthIsRefused) {
  ExpectRefused({
      // Two lengths: one request hidden in another.
      {PostJson("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nGET /"), {400}},
      {PostJson("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\nGET /"), {400}},
      {PostJson("Content-Length: 2\r\nContent-Length: 7\r\n", "{}GET /"), {400}},
      {PostJson("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), {400}},
      {PostJson("Content-Length: 2, 2\r\n", "{}"), {400}},
      {PostJson("Content-Length: -1\r\n", "{}"), {400}},
      {PostJson("Content-Length: 99999999999999999999\r\n", "{}"), {400, 413}},
      {PostJson("Content-Length: 9999999999\r\n", "{}"), {413}},
      {PostJson("Transfer-Encoding: identity\r\n", "{}"), {400}},
      {PostJson("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), {400}},
      {PostJson("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), {400}},
      {PostJson("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"), {400}},
      {PostJson("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), {400}},
      {PostJson("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), {400}},
      {PostJson("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), {400}},
      {PostJson("Transfer-Encoding: chunked\r\n", "2\n{}\r\n0\r\n\r\n"), {400}},
      {PostJson("Transfer-Encoding: chunked\r\n", "2\r\n{}0\r\n\r\nGET /"), {400}},
      {PostJson("Transfer-Encoding: chunked\r\n", "-2\r\n{}\r\n0\r\n\r\n"), {400}},
      {PostJson("Transfer-Encoding: chunked\r\n", "0x2\r\n{}\r\n0\r\n\r\n"), {400}},
      {PostJson("Transfer-Encoding: chunked\r\n", "10000000000000002\r\n{}\r\n0\r\n\r\n"), {400, 413}},
      {PostJson("Transfer-Encoding: chunked\r\n", "700000\r\n" + std::string(0x700000, ' ') + "\r\n0\r\n\r\n"), {413}},
      {PostJson("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n" + ManyFields() + "\r\n"), {431}},
  });
}

TEST_F(HostileRequestTest, AHostileHeaderIsRefused) {
  ExpectRefused({
      // Folded fields, and lines that end otherwise than by CR LF.
      {PostJson("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\nGET /"), {400}},
      {PostJson("Content-Length: 2\r\nX: 1\r\n\tContent-Length: 7\r\n", "{}GET /"), {400}},
      {"GET /v1/tasks HTTP/1.1\r\n Host: h\r\nConnection: close\r\n\r\n", {400}},
      {"GET /v1/tasks HTTP/1.1\nHost: h\nConnection: close\n\n", {400}},
      {PostJson("X: 1\nContent-Length: 2\r\n", "{}"), {400}},
      {PostJson("X: 1\rContent-Length: 2\r\n", "{}"), {400}},
      {PostJson("Content-Length: 2\r\n" + std::string("X: \0\r\n", 6), "{}"), {400}},
      {PostJson(": 1\r\nContent-Length: 2\r\n", "{}"), {400}},
      {PostJson("Content-Length: +2\r\n", "{}"), {400}},
      {PostJson("Content-Length: 0x2\r\n", "{}"), {400}},
      {PostJson("Content-Length: 2 2\r\n", "{}"), {400}},
      {PostJson("Content-Length:\r\n", "{}"), {400}},
      {PostJson("Transfer-Encoding: chunked\r\n", "2;" + std::string(1 << 20, 'x') + "\r\n{}\r\n0\r\n\r\n"),
       {400, 431}},
      {Post(ManyFields(), ""), {431}},
      {Post("X: " + std::string(1 << 20, 'x') + "\r\n", ""), {431}},
      {"GET /" + std::string(1 << 20, 'x') + " HTTP/1.1\r\nHost: h\r\n\r\n", {431}},
      {"GET /v1/tasks HTTP/1.1\r\nConnection: close\r\n\r\n", {400}},
      {"GET /v1/tasks HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {400}},
      {"GET /v1/tasks HTTP/1.0\r\nHost: h\r\n\r\n", {505}},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}},
      {std::string("\x16\x03\x01\0\0\r\n\r\n", 9), {400}},
      {Text("GET", "/v1/tasks", "", "Origin: https://evil.example\r\n"), {403}},
      {Post("Content-Type: text/plain\r\nContent-Length: 2\r\n", "{}"), {415}},
      {PostJson("Content-Length: 2\r\nContent-Encoding: br\r\n", "{}"), {415}},
      {PostJson("Content-Length: 2\r\nExpect: tea\r\n", "{}"), {417}},
  });
}

TEST_F(HostileRequestTest, AHostileTargetIsRefused) {
  ExpectRefused({
      {Text("PUT", "/v1/tasks", "{}"), {405}},
      {Text("GET", "/v1/nothing"), {404}},
      {Text("GET", "/v1/tasks/a%2Fb"), {404}},
      {Text("GET", "/v1/tasks/%00"), {404}},
      {Text("GET", "/v1/tasks/%zz"), {404}},
      {Text("GET", "/v1/tasks/../tasks/a"), {404}},
      {Text("GET", "http://elsewhere/v1/tasks"), {404}},
      {Text("GET", "*"), {404}},
      {Text("GET", "/v1/tasks/a b"), {400}},
      {Text("GET", "/v1/tasks/\xff"), {400, 404}},
      {Text("CONNECT", "h:443"), {404}},
      {Text("GET", "/v1/tasks?pageSize=x"), {400}},
      {Text("GET", "/v1/tasks?pageSize=99999999999"), {400}},
      {Text("GET", "/v1/tasks?pageSize=1&page_size=2"), {400}},
      {Text("GET", "/v1/tasks?pageToken=%ff"), {400}},
      {Text("GET", "/v1/tasks?nothing=1"), {400}},
      {Text("GET", "/v1/tasks/a?name=tasks/b"), {400}},
  });
}

TEST_F(HostileRequestTest, AHostileMessageIsRefused) {
  std::string deep = "{\"leases\":";
  for (int i = 0; i < 100'000; ++i) deep += "[";
  ExpectRefused({
      {Text("GET", "/v1/tasks", "{}"), {400}},
      {Text("POST", "/v1/tasks?title=x", "{}"), {400}},
      {Text("POST", "/v1/tasks/a:pause", "{\"name\":\"tasks/b\"}"), {400}},
      {Text("POST", "/v1/tasks", "{\"title\":\"\xff\xfe\"}"), {400}},
      {Text("POST", "/v1/tasks", "{\"title\":\"\xed\xa0\x80\"}"), {400}},
      {Text("POST", "/v1/tasks", "{\"title\":1e400}"), {400}},
      {Text("POST", "/v1/tasks", "{\"maxFailures\":2147483648}"), {400}},
      {Text("POST", "/v1/tasks", "{\"maxFailures\":1.5}"), {400}},
      {Text("POST", "/v1/tasks", "{\"maxFailures\":\"-2147483649\"}"), {400}},
      {Text("POST", "/v1/tasks", "{\"maxFailures\":NaN}"), {400}},
      {Text("POST", "/v1/tasks", "{\"ttl\":\"315576000001s\"}"), {400}},
      {Text("POST", "/v1/tasks", "{\"startTime\":\"10000-01-01T00:00:00Z\"}"), {400}},
      {Text("POST", "/v1/tasks", "{\"files\":{\"files\":[{\"mode\":-1}]}}"), {400}},
      {Text("POST", "/v1/tasks/a/chunks:fetch", "{\"revision\":\"9223372036854775808\"}"), {400}},
      {Text("GET", "/v1/tasks/a:watch?cursor=9223372036854775808"), {400}},
      {Text("POST", "/v1/tasks", "{\"nothing\":1}"), {400}},
      {Text("POST", "/v1/tasks", "{\"forced\":tru"), {400}},
      {Text("POST", "/v1/tasks", "{} {}"), {400}},
      {Text("POST", "/v1/tasks", "[]"), {400}},
      {Text("POST", "/v1/tasks", "null"), {400}},
      {PostJson("Content-Length: 2\r\nContent-Encoding: gzip\r\n", "{}"), {400}},
      {PostJson("Content-Length: 10\r\nContent-Encoding: gzip\r\n", Gzip("{}").substr(0, 10)), {400}},
      {Text("POST", "/v1/tasks", deep), {400}},
      {Text("POST", "/v1/tasks", "{\"nothing\":" + deep), {400}},
  });
}

// One limit each is short: a client that the machine keeps from running meets no other.
TEST_F(RestTest, ASlowHeaderIsNotWaitedFor) {
  Server::Options options;
  options.header_timeout = absl::Milliseconds(100);
  Start(std::move(options));
  EXPECT_EQ(StatusOf(Raw("GET /v1/tas")), 408);
  EXPECT_EQ(StatusOf(Raw("GET /v1/tasks HTTP/1.1\r\nHost: h\r\nX: ")), 408);
  EXPECT_TRUE(service_.calls().empty());
  ExpectServes();
}

TEST_F(RestTest, ASlowBodyIsNotWaitedFor) {
  Server::Options options;
  options.body_timeout = absl::Milliseconds(100);
  Start(std::move(options));
  const std::string post =
      "POST /v1/tasks HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 10\r\n";
  const std::string answered = Raw(post + "\r\n{");
  EXPECT_EQ(StatusOf(answered), 408);
  EXPECT_TRUE(absl::StrContains(answered, "Connection: close")) << answered;
  EXPECT_TRUE(absl::StrContains(answered, "REQUEST_TIMEOUT")) << answered;
  EXPECT_TRUE(absl::StrContains(Raw(post + "Expect: 100-continue\r\n\r\n"), "\r\n\r\nHTTP/1.1 408"));
  EXPECT_TRUE(service_.calls().empty());
  ExpectServes();
}

TEST_F(RestTest, AnIdleConnectionIsClosed) {
  Server::Options options;
  options.idle_timeout = absl::Milliseconds(100);
  Start(std::move(options));
  EXPECT_EQ(Raw(""), "");
}

TEST_F(RestTest, AStoppingServerLetsStreamsEnd) {
  Start();
  service_.Answer({{""}, grpc::Status::OK, /*hold=*/true});
  const auto client = Connect();
  client->Write(Text("GET", "/v1/tasks/a:watch"));
  EXPECT_TRUE(absl::StartsWith(client->Read(), "HTTP/1.1 200"));
  const auto idle = Connect();
  door_->Shutdown(absl::Now());
  EXPECT_TRUE(absl::StrContains(ReadToEnd(client.get()), "{\"error\":{"));
  EXPECT_EQ(ReadToEnd(idle.get()), "");
}

}  // namespace
}  // namespace parley::rest
