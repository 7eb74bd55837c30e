#include "lib/rest/server.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/rest/http_session.h"
#include "lib/rest/routes.h"

namespace parley::rest {

namespace {

namespace asio = boost::asio;

class HttpServer final : public Server {
 public:
  HttpServer(transport::GrpcDoor* door, Options options, Routes routes)
      : door_(door), options_(std::move(options)), routes_(std::move(routes)), work_(context_->get_executor()) {
    for (int i = 0; i < std::max(1, options_.threads); ++i) threads_.emplace_back([this] { context_->run(); });
  }
  ~HttpServer() override {
    Drain(absl::InfinitePast());
    // Not stopped: what is still to be called holds sessions, and these hold the context.
    work_.reset();
    for (std::thread& thread : threads_) thread.join();
  }

  void Take(int fd, std::shared_ptr<const transport::Peer> peer) override;
  void Stop() override { StopAll(/*now=*/false); }
  void Drain(absl::Time deadline) override;

 private:
  void StopAll(bool now);
  // The caller still holds the session.
  void OnClosed(HttpSession* session) {
    MutexLock lock(&mutex_);
    sessions_.erase(session);
    if (sessions_.empty()) none_.NotifyAll();
  }

  transport::GrpcDoor* const door_;
  const Options options_;
  const Routes routes_;
  // Calls that end late, on threads of gRPC, keep it.
  const std::shared_ptr<asio::io_context> context_ = std::make_shared<asio::io_context>();
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::vector<std::thread> threads_;
  Mutex mutex_;
  CondVar none_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::unordered_map<HttpSession*, std::shared_ptr<HttpSession>> sessions_ ABSL_GUARDED_BY(mutex_);
};

void HttpServer::Take(int fd, std::shared_ptr<const transport::Peer> peer) {
  boost::beast::error_code error;
  asio::local::stream_protocol::socket socket{asio::make_strand(*context_)};
  socket.assign(asio::local::stream_protocol(), fd, error);
  if (error) {
    close(fd);
    return;
  }
  const auto session = std::make_shared<HttpSession>(
      std::move(socket), context_, &options_, &routes_,
      [this, peer = std::move(peer)] { return door_->ConnectAs(*peer); },
      [this](HttpSession* closed) { OnClosed(closed); });
  {
    MutexLock lock(&mutex_);
    // Dropped, it closes its socket.
    if (stopping_ || static_cast<int>(sessions_.size()) >= options_.max_connections) return;
    sessions_.emplace(session.get(), session);
  }
  session->Start();
}

void HttpServer::StopAll(bool now) {
  std::vector<std::shared_ptr<HttpSession>> all;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    for (const auto& [key, session] : sessions_) all.push_back(session);
  }
  for (const auto& session : all) session->Stop(now);
}

void HttpServer::Drain(absl::Time deadline) {
  StopAll(/*now=*/false);
  {
    MutexLock lock(&mutex_);
    while (!sessions_.empty() && none_.WaitUntil(&mutex_, deadline)) {
    }
  }
  StopAll(/*now=*/true);
  MutexLock lock(&mutex_);
  while (!sessions_.empty()) none_.Wait(&mutex_);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Attach(transport::GrpcDoor* door, Options options) {
  ASSIGN_OR_RETURN(Routes routes, Routes::Of(options.services, google::protobuf::DescriptorPool::generated_pool()));
  auto server = std::make_unique<HttpServer>(door, std::move(options), std::move(routes));
  door->UseRest(server.get());
  return server;
}

}  // namespace parley::rest
