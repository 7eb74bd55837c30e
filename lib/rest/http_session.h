// One connection of a REST peer: it reads a request, calls the RPC, writes the answer, and goes on with the next.
//
// Threads: everything runs on the session's strand; Start and Stop may be called from any thread.
#ifndef PARLEY_LIB_REST_HTTP_SESSION_H_
#define PARLEY_LIB_REST_HTTP_SESSION_H_

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/rest/backend.h"
#include "lib/rest/line_stream.h"
#include "lib/rest/routes.h"
#include "lib/rest/server.h"
#include "lib/rest/transcode.h"

namespace parley::rest {

class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  using Stream = boost::beast::basic_stream<boost::asio::local::stream_protocol>;

  // Takes the socket; `keep` keeps its context alive. `options` and `routes` must outlive the session. The owner holds
  // the session until `closed` tells its end.
  HttpSession(Stream::socket_type socket, std::shared_ptr<void> keep, const Server::Options* options,
              const Routes* routes, Backend::Connect connect, std::function<void(HttpSession*)> closed);
  ~HttpSession();

  void Start();
  // Closes after the answer that is under way; at once if there is none, or if `now` is set.
  void Stop(bool now);

 private:
  using Request = boost::beast::http::request<boost::beast::http::string_body>;
  using Response = boost::beast::http::response<boost::beast::http::string_body>;
  using ErrorCode = boost::beast::error_code;

  void AwaitRequest();
  void ReadHead();
  void OnHead(ErrorCode error);
  bool HasBody() const;
  absl::Status FindRoute();
  void ReadBody();
  void OnBody(ErrorCode error);
  // Answers a request that could not be read, if the peer still listens.
  void OnBadRead(ErrorCode error);
  // Lets the read under way fail after this long; the connection stays for the answer.
  void LimitRead(absl::Duration duration);

  void Dispatch();
  absl::StatusOr<std::vector<std::string>> Requests();
  void StartCall(std::vector<std::string> requests);
  void OnMessage(std::string message);
  void OnEnded(const grpc::Status& status);
  void AnswerUnary();

  // These serve RPCs that stream their answers.
  void AwaitFirstAnswer();
  void BeginStream();
  void AddLine(std::string json);
  void WriteStream();
  // Notices when the peer leaves, which ends the call.
  void WatchPeer();

  void AnswerError(const absl::Status& status);
  void AnswerJson(int http_status, std::string json, const std::string& etag = "");
  void Answer(Response response);
  void Linger();
  void Close();
  bool streaming() const { return route_ != nullptr && route_->rpc->server_streaming(); }

  const std::shared_ptr<void> keep_;
  Stream stream_;
  boost::asio::steady_timer timer_;
  const Server::Options* const options_;
  const Routes* const routes_;
  const std::function<void(HttpSession*)> closed_;
  Backend backend_;

  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  const Route* route_ = nullptr;
  Variables variables_;
  std::string allow_;
  std::shared_ptr<BackendCall> call_;
  std::optional<std::string> message_;
  std::optional<Response> response_;
  // Set once an answer that streams has begun.
  std::optional<LineStream> lines_;
  std::string out_;
  std::string writing_;
  std::string discarded_;
  bool idle_ = true;
  bool body_read_ = false;
  bool out_of_time_ = false;
  bool keep_alive_ = true;
  bool stopping_ = false;
  bool closed_once_ = false;
  bool stream_ended_ = false;
  bool write_under_way_ = false;
  bool wants_next_ = false;
};

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_HTTP_SESSION_H_
