#include "lib/rest/http_session.h"

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/rest/gzip.h"
#include "lib/rest/request_header.h"

namespace parley::rest {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr char kDocumentPath[] = "/openapi.json";
// Shorter answers do not fit into fewer packets.
constexpr size_t kMinGzipBytes = 1024;
// A stream's first answer decides about the status line: so long is waited for it, once the handler has the call.
constexpr auto kFirstAnswer = std::chrono::milliseconds(250);
// What a peer may still be sending after an error has been answered: read, so that no reset overtakes the answer.
constexpr auto kLinger = std::chrono::seconds(2);
constexpr size_t kLingerBytes = 16 * 1024;
// At a time, of a header.
constexpr size_t kReadBytes = 4096;
constexpr char kGoOn[] = "HTTP/1.1 100 Continue\r\n\r\n";

std::chrono::nanoseconds Chrono(absl::Duration duration) { return absl::ToChronoNanoseconds(duration); }

}  // namespace

HttpSession::HttpSession(Stream::socket_type socket, std::shared_ptr<void> keep, const Server::Options* options,
                         const Routes* routes, Backend::Connect connect, std::function<void(HttpSession*)> closed)
    : keep_(std::move(keep)),
      stream_(std::move(socket)),
      timer_(stream_.get_executor()),
      options_(options),
      routes_(routes),
      closed_(std::move(closed)),
      backend_(std::move(connect)),
      buffer_(2 * options->max_header_bytes) {}

HttpSession::~HttpSession() = default;

void HttpSession::Start() {
  asio::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->AwaitRequest(); });
}

void HttpSession::Stop(bool now) {
  asio::dispatch(stream_.get_executor(), [self = shared_from_this(), now] {
    self->stopping_ = true;
    if (now || self->idle_) self->Close();
  });
}

void HttpSession::AwaitRequest() {
  idle_ = true;
  if (stopping_) return Close();
  route_ = nullptr;
  variables_.clear();
  allow_.clear();
  message_.reset();
  body_read_ = false;
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(options_->max_header_bytes));
  parser_->body_limit(options_->max_body_bytes);
  parser_->eager(false);
  const auto read_head = [self = shared_from_this()] {
    self->idle_ = false;
    self->LimitRead(self->options_->header_timeout);
    self->ReadHead();
  };
  if (buffer_.size() > 0) return read_head();
  stream_.expires_after(Chrono(options_->idle_timeout));
  stream_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this(), read_head](ErrorCode error, size_t size) {
                            if (error) return self->Close();
                            self->buffer_.commit(size);
                            read_head();
                          });
}

void HttpSession::ReadHead() {
  const auto bytes = buffer_.data();
  if (IsFolded(absl::string_view(static_cast<const char*>(bytes.data()), bytes.size()))) {
    return OnHead(http::error::bad_value);
  }
  ErrorCode error;
  buffer_.consume(parser_->put(bytes, error));
  if (error != http::error::need_more) return OnHead(error);
  stream_.async_read_some(buffer_.prepare(kReadBytes), [self = shared_from_this()](ErrorCode failed, size_t size) {
    if (failed) return self->OnHead(failed);
    self->buffer_.commit(size);
    self->ReadHead();
  });
}

void HttpSession::LimitRead(absl::Duration duration) {
  out_of_time_ = false;
  stream_.expires_never();
  timer_.expires_after(Chrono(duration));
  timer_.async_wait([self = shared_from_this()](ErrorCode error) {
    // It may have been set anew while this was on its way.
    if (error || self->timer_.expiry() > std::chrono::steady_clock::now()) return;
    self->out_of_time_ = true;
    self->stream_.cancel();
  });
}

void HttpSession::OnHead(ErrorCode error) {
  timer_.expires_at(std::chrono::steady_clock::time_point::max());
  if (error) return OnBadRead(error);
  absl::Status status = CheckHeader(parser_->get());
  if (status.ok()) status = FindRoute();
  if (status.ok() && HasBody()) status = CheckContentType(parser_->get());
  if (!status.ok()) {
    keep_alive_ = false;
    return AnswerError(status);
  }
  keep_alive_ = parser_->keep_alive();
  if (!absl::EqualsIgnoreCase(View(parser_->get()[http::field::expect]), "100-continue")) return ReadBody();
  asio::async_write(stream_, asio::buffer(kGoOn, sizeof(kGoOn) - 1),
                    [self = shared_from_this()](ErrorCode failed, size_t) {
                      if (failed) return self->Close();
                      self->ReadBody();
                    });
}

bool HttpSession::HasBody() const {
  const auto size = parser_->content_length();
  return parser_->chunked() || (size.has_value() && *size > 0);
}

absl::Status HttpSession::FindRoute() {
  const auto& head = parser_->get();
  const absl::string_view method = View(head.method_string());
  const absl::string_view target = View(head.target());
  const absl::string_view path = target.substr(0, target.find('?'));
  if (path == kDocumentPath) {
    allow_ = "GET";
    if (method == "GET") return absl::OkStatus();
    return Error(absl::StatusCode::kUnimplemented, "METHOD_NOT_ALLOWED", "use GET for /openapi.json");
  }
  Routes::Found found = routes_->Find(method, path);
  route_ = found.route;
  variables_ = std::move(found.variables);
  if (route_ != nullptr) return absl::OkStatus();
  if (found.allow.empty()) {
    return NotFound("ROUTE_NOT_FOUND", "nothing is served here; see /openapi.json");
  }
  allow_ = found.allow;
  return Error(absl::StatusCode::kUnimplemented, "METHOD_NOT_ALLOWED", "this path is not served by that method; use ",
               allow_);
}

void HttpSession::ReadBody() {
  LimitRead(options_->body_timeout);
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](ErrorCode error, size_t) { self->OnBody(error); });
}

void HttpSession::OnBody(ErrorCode error) {
  timer_.expires_at(std::chrono::steady_clock::time_point::max());
  if (error) return OnBadRead(error);
  body_read_ = true;
  Dispatch();
}

void HttpSession::OnBadRead(ErrorCode error) {
  keep_alive_ = false;
  // Whatever the header said of the path, no RPC has begun.
  route_ = nullptr;
  if (out_of_time_) {
    return AnswerError(Error(absl::StatusCode::kDeadlineExceeded, "REQUEST_TIMEOUT",
                             "the request did not come whole in the time for it; send it faster, or in parts"));
  }
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return AnswerError(InvalidArgument("HEADER_TOO_LARGE", "the request's header is too large; send fewer headers"));
  }
  if (error == http::error::body_limit) {
    return AnswerError(InvalidArgument("BODY_TOO_LARGE", "the body has more than ", options_->max_body_bytes,
                                       " bytes; upload large payloads in chunks"));
  }
  if (error.category() == make_error_code(http::error::end_of_stream).category() &&
      error != http::error::end_of_stream && error != http::error::partial_message) {
    return AnswerError(InvalidArgument("HTTP_MALFORMED", "this is not HTTP/1.1; use a client that speaks it"));
  }
  Close();
}

void HttpSession::Dispatch() {
  if (route_ == nullptr) return AnswerJson(200, std::string(options_->open_api));
  absl::StatusOr<std::vector<std::string>> requests = Requests();
  if (!requests.ok()) return AnswerError(requests.status());
  StartCall(*std::move(requests));
}

absl::StatusOr<std::vector<std::string>> HttpSession::Requests() {
  auto& request = parser_->get();
  HttpCall call;
  call.route = route_;
  call.variables = std::move(variables_);
  const absl::string_view target = View(request.target());
  if (const size_t mark = target.find('?'); mark != absl::string_view::npos) {
    call.query = std::string(target.substr(mark + 1));
  }
  call.body = std::move(request.body());
  if (absl::EqualsIgnoreCase(View(request[http::field::content_encoding]), "gzip") && !call.body.empty()) {
    ASSIGN_OR_RETURN(call.body, Gunzip(call.body, options_->max_body_bytes));
  }
  if (request.count(http::field::if_match) > 0 && route_->http_method != "GET") {
    std::optional<std::string> if_match = ParseIfMatch(View(request[http::field::if_match]));
    if (!if_match.has_value()) {
      return InvalidArgument("IF_MATCH_MALFORMED", "If-Match must be one entity tag as ETag gave it, or *");
    }
    call.if_match = *std::move(if_match);
  }
  absl::StatusOr<std::vector<std::string>> requests = ToRequests(call);
  // Some requests hold a secret.
  WipeString(&call.body);
  return requests;
}

void HttpSession::StartCall(std::vector<std::string> requests) {
  grpc::GenericStub* const stub = backend_.stub();
  if (stub == nullptr) {
    keep_alive_ = false;
    return AnswerError(
        Unavailable("SERVER_STOPPING", "the server stops, or has too many connections; try again in a moment"));
  }
  BackendCall::Metadata metadata;
  for (const char* const name : {"traceparent", "tracestate"}) {
    const auto value = parser_->get()[name];
    if (!value.empty() && std::all_of(value.begin(), value.end(), absl::ascii_isprint)) {
      metadata.emplace_back(name, std::string(View(value)));
    }
  }
  // Events may come after the session's end, on threads that are not the server's.
  const auto on_strand = [keep = keep_, executor = stream_.get_executor(), weak = weak_from_this()](auto work) {
    asio::post(executor, [weak, work = std::move(work)]() mutable {
      if (const auto self = weak.lock(); self != nullptr) work(self.get());
    });
  };
  BackendCall::Events events;
  events.message = [on_strand](std::string message) {
    on_strand([message = std::move(message)](HttpSession* self) mutable { self->OnMessage(std::move(message)); });
  };
  events.ended = [on_strand](const grpc::Status& status, std::shared_ptr<BackendCall> call) {
    on_strand([status, call = std::move(call)](HttpSession* self) { self->OnEnded(status); });
  };
  if (streaming()) {
    keep_alive_ = false;
    events.started = [on_strand] { on_strand([](HttpSession* self) { self->AwaitFirstAnswer(); }); };
    WatchPeer();
  }
  const absl::Time deadline = streaming() ? absl::InfiniteFuture() : absl::Now() + options_->call_timeout;
  call_ = BackendCall::Start(stub, route_->rpc_path, std::move(requests), metadata, deadline, std::move(events));
}

void HttpSession::AwaitFirstAnswer() {
  if (lines_.has_value() || stream_ended_) return;
  timer_.expires_after(kFirstAnswer);
  timer_.async_wait([self = shared_from_this()](ErrorCode error) {
    if (error || self->stream_ended_ || self->closed_once_) return;
    self->BeginStream();
    self->WriteStream();
  });
}

void HttpSession::OnMessage(std::string message) {
  if (closed_once_) return;
  if (!streaming()) {
    message_ = std::move(message);
    return call_->Next();
  }
  const absl::StatusOr<JsonAnswer> answer = ToJson(*route_->rpc->output_type(), message);
  WipeString(&message);
  if (!answer.ok()) {
    call_->Cancel();
    return;
  }
  BeginStream();
  wants_next_ = true;
  AddLine(absl::StrCat("{\"result\":", answer->json, "}\n"));
  WriteStream();
}

void HttpSession::OnEnded(const grpc::Status& status) {
  call_ = nullptr;
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) backend_.Forget();
  if (closed_once_) return closed_(this);
  if (streaming()) {
    timer_.cancel();
    stream_ended_ = true;
    if (!lines_.has_value() && !status.ok()) return AnswerJson(HttpStatus(status.error_code()), StatusJson(status));
    BeginStream();
    if (!status.ok()) AddLine(absl::StrCat("{\"error\":", StatusJson(status), "}\n"));
    absl::StrAppend(&out_, lines_->End());
    return WriteStream();
  }
  if (status.ok()) return AnswerUnary();
  // What the caller has seen is no more.
  const bool precondition =
      status.error_code() == grpc::StatusCode::ABORTED && parser_->get().count(http::field::if_match) > 0;
  AnswerJson(precondition ? 412 : HttpStatus(status.error_code()), StatusJson(status));
}

void HttpSession::AnswerUnary() {
  if (!message_.has_value()) {
    return AnswerError(Error(absl::StatusCode::kInternal, "ANSWER_MISSING", "the call ended without an answer"));
  }
  absl::StatusOr<JsonAnswer> answer = ToJson(*route_->rpc->output_type(), *message_);
  WipeString(&*message_);
  if (!answer.ok()) return AnswerError(answer.status());
  const std::string etag = answer->etag.empty() ? "" : absl::StrCat("\"", answer->etag, "\"");
  const auto& request = parser_->get();
  if (!etag.empty() && route_->http_method == "GET" && View(request[http::field::if_none_match]) == etag) {
    return AnswerJson(304, "", etag);
  }
  AnswerJson(200, std::move(answer->json), etag);
}

void HttpSession::BeginStream() {
  if (lines_.has_value()) return;
  lines_.emplace(AcceptsGzip(parser_->get()));
  out_ = lines_->Head();
}

void HttpSession::AddLine(std::string line) {
  absl::StrAppend(&out_, lines_->Line(line));
  WipeString(&line);
}

void HttpSession::WriteStream() {
  if (write_under_way_ || closed_once_) return;
  if (out_.empty()) {
    if (stream_ended_) return Close();
    if (std::exchange(wants_next_, false)) call_->Next();
    return;
  }
  write_under_way_ = true;
  writing_ = std::exchange(out_, std::string());
  stream_.expires_after(Chrono(options_->write_timeout));
  asio::async_write(stream_, asio::buffer(writing_), [self = shared_from_this()](ErrorCode error, size_t) {
    WipeString(&self->writing_);
    self->write_under_way_ = false;
    if (error) return self->Close();
    self->WriteStream();
  });
}

void HttpSession::WatchPeer() {
  stream_.expires_never();
  stream_.async_read_some(buffer_.prepare(1), [self = shared_from_this()](ErrorCode error, size_t) {
    // A further request is not awaited here: the connection closes with the stream.
    if (error) self->Close();
  });
}

void HttpSession::AnswerError(const absl::Status& status) { AnswerJson(HttpStatusOf(status), StatusJson(status)); }

void HttpSession::AnswerJson(int http_status, std::string json, const std::string& etag) {
  Response response{static_cast<http::status>(http_status), kHttp11};
  if (http_status == 499) response.reason("Client Closed Request");
  response.set(http::field::cache_control, "no-store");
  response.set("X-Content-Type-Options", "nosniff");
  if (http_status != 304) response.set(http::field::content_type, "application/json");
  if (!etag.empty()) response.set(http::field::etag, etag);
  if (http_status == 405) response.set(http::field::allow, allow_);
  // Else a terminal's prompt stands at the end of a long line.
  if (!json.empty() && json.back() != '\n') json += '\n';
  if (json.size() >= kMinGzipBytes) {
    response.set(http::field::vary, "Accept-Encoding");
    if (AcceptsGzip(parser_->get())) {
      response.set(http::field::content_encoding, "gzip");
      std::string zipped = Gzip(json);
      WipeString(&json);
      json = std::move(zipped);
    }
  }
  response.body() = std::move(json);
  Answer(std::move(response));
}

void HttpSession::Answer(Response response) {
  if (stopping_) keep_alive_ = false;
  response.keep_alive(keep_alive_);
  response.prepare_payload();
  response_ = std::move(response);
  stream_.expires_after(Chrono(options_->write_timeout));
  http::async_write(stream_, *response_, [self = shared_from_this()](ErrorCode error, size_t) {
    WipeString(&self->response_->body());
    if (error) return self->Close();
    if (self->keep_alive_) return self->AwaitRequest();
    if (self->body_read_) return self->Close();
    self->stream_.expires_after(kLinger);
    self->Linger();
  });
}

void HttpSession::Linger() {
  if (discarded_.empty()) {
    ErrorCode ignored;
    stream_.socket().shutdown(Stream::socket_type::shutdown_send, ignored);
    discarded_.resize(kLingerBytes);
  }
  stream_.async_read_some(asio::buffer(discarded_), [self = shared_from_this()](ErrorCode error, size_t) {
    if (error) return self->Close();
    self->Linger();
  });
}

void HttpSession::Close() {
  if (std::exchange(closed_once_, true)) return;
  timer_.cancel();
  stream_.close();
  if (call_ == nullptr) return closed_(this);
  // Its end comes to OnEnded.
  call_->Cancel();
}

}  // namespace parley::rest
