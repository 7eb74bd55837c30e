#include "lib/service/metrics_port.h"

#include <string.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/rpc/metrics.h"
#include "lib/transport/address.h"

namespace parley::service {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr std::chrono::seconds kRequestTimeout(10);
constexpr int kMaxHeaderBytes = 8192;
constexpr int kMaxConnections = 32;

// One connection: requests one after another.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, const rpc::Metrics* metrics, int* open)
      : stream_(std::move(socket)), metrics_(metrics), open_(open) {
    ++*open_;
  }
  ~Session() { --*open_; }

  void Read() {
    parser_.emplace();
    parser_->header_limit(kMaxHeaderBytes);
    parser_->body_limit(0);
    stream_.expires_after(kRequestTimeout);
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](error_code error, size_t) {
      if (!error) self->Answer();
    });
  }

 private:
  void Answer() {
    const auto& request = parser_->get();
    const bool get = request.method() == http::verb::get || request.method() == http::verb::head;
    const beast::string_view path = request.target().substr(0, request.target().find('?'));
    response_ = {};
    response_.version(request.version());
    response_.keep_alive(request.keep_alive());
    response_.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
    if (!get) {
      response_.result(http::status::method_not_allowed);
      response_.set(http::field::allow, "GET, HEAD");
    } else if (path != "/metrics") {
      response_.result(http::status::not_found);
      response_.body() = "there is only /metrics here\n";
    } else {
      response_.body() = metrics_->Text();
    }
    response_.prepare_payload();
    if (request.method() == http::verb::head) response_.body().clear();
    stream_.expires_after(kRequestTimeout);
    http::async_write(stream_, response_, [self = shared_from_this()](error_code error, size_t) {
      if (!error && self->response_.keep_alive()) return self->Read();
      error_code ignored;
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    });
  }

  beast::tcp_stream stream_;
  const rpc::Metrics* const metrics_;
  int* const open_;
  beast::flat_buffer buffer_{kMaxHeaderBytes * 2};
  std::optional<http::request_parser<http::empty_body>> parser_;
  http::response<http::string_body> response_;
};

absl::Status ListenError(const std::string& address, const error_code& error) {
  const bool in_use = error == asio::error::address_in_use;
  return Error(in_use ? absl::StatusCode::kFailedPrecondition : absl::StatusCode::kInvalidArgument,
               in_use ? "ADDRESS_IN_USE" : "ADDRESS_INVALID", "cannot listen on ", address,
               " for metrics: ", error.message(),
               "; give a free port and an address of this machine, like 0.0.0.0:7463");
}

class HttpPort final : public MetricsPort {
 public:
  explicit HttpPort(const rpc::Metrics* metrics) : metrics_(metrics) {}
  ~HttpPort() override {
    loop_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen(const std::string& address) {
    ASSIGN_OR_RETURN(transport::HostPort where, transport::ParseHostPort(address));
    // Takes IPv4 as well.
    if (where.host.empty()) where.host = "::";
    ASSIGN_OR_RETURN(const auto found, transport::Resolve(where, /*passive=*/true, /*numeric_only=*/false));
    tcp::endpoint endpoint;
    endpoint.resize(found.at(0).size);
    memcpy(endpoint.data(), found.at(0).get(), found.at(0).size);
    error_code error;
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return ListenError(address, error);
    address_ = absl::StrCat(address.substr(0, address.rfind(':')), ":", acceptor_.local_endpoint(error).port());
    Accept();
    thread_ = std::thread([this] { loop_.run(); });
    return absl::OkStatus();
  }

 private:
  void Accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      // One too many is closed at once.
      if (!error && open_ < kMaxConnections) std::make_shared<Session>(std::move(socket), metrics_, &open_)->Read();
      if (error == asio::error::operation_aborted) return;
      if (!error) return Accept();
      // Without descriptors the next accept fails as well: look away for a moment.
      retry_.expires_after(std::chrono::milliseconds(100));
      retry_.async_wait([this](error_code) { Accept(); });
    });
  }

  const rpc::Metrics* const metrics_;
  // Touched by the loop's thread only. Before the loop, whose sessions use it to the end.
  int open_ = 0;
  asio::io_context loop_{1};
  tcp::acceptor acceptor_{loop_};
  asio::steady_timer retry_{loop_};
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsPort>> MetricsPort::Open(const std::string& address,
                                                               const rpc::Metrics* metrics) {
  auto port = std::make_unique<HttpPort>(metrics);
  RETURN_IF_ERROR(port->Listen(address));
  return port;
}

}  // namespace parley::service
