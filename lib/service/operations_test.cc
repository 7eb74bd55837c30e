#include <arpa/inet.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/rpc/metrics.h"
#include "lib/service/config_check.h"
#include "lib/service/health.h"
#include "lib/service/metrics_port.h"
#include "lib/transport/grpc_poller.h"

namespace parley::service {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

TEST(Metrics, CountCallsUnderTheUsualNames) {
  rpc::Metrics metrics;
  metrics.Started("parley.task.v1.TaskService.GetTask", "unary");
  metrics.Started("parley.task.v1.TaskService.GetTask", "unary");
  metrics.Handled("parley.task.v1.TaskService.GetTask", "unary", absl::StatusCode::kNotFound, absl::Milliseconds(30));
  const std::string text = metrics.Text();
  const std::string labels = R"(grpc_method="GetTask",grpc_service="parley.task.v1.TaskService",grpc_type="unary")";
  EXPECT_THAT(text, HasSubstr("# TYPE grpc_server_started_total counter\n"));
  EXPECT_THAT(text, HasSubstr(absl::StrCat("grpc_server_started_total{", labels, "} 2\n")));
  EXPECT_THAT(text, HasSubstr(absl::StrCat("grpc_server_handled_total{grpc_code=\"NotFound\",", labels, "} 1\n")));
  EXPECT_THAT(text, HasSubstr(absl::StrCat("_bucket{", labels, ",le=\"0.025\"} 0\n")));
  EXPECT_THAT(text, HasSubstr(absl::StrCat("_bucket{", labels, ",le=\"0.05\"} 1\n")));
  EXPECT_THAT(text, HasSubstr(absl::StrCat("_bucket{", labels, ",le=\"+Inf\"} 1\n")));
  EXPECT_THAT(text, HasSubstr(absl::StrCat("grpc_server_handling_seconds_count{", labels, "} 1\n")));
  EXPECT_THAT(text, HasSubstr("process_resident_memory_bytes "));
}

TEST(Metrics, AskASourceOnlyWhileItLives) {
  rpc::Metrics metrics;
  const auto read = [] { return std::vector<rpc::Metrics::Sample>{{{{"state", "a\"b\\c\n"}}, 123456789012}}; };
  rpc::Metrics::Source source = metrics.Add("parley_things", "Things.", rpc::Metrics::Kind::kGauge, read);
  EXPECT_THAT(metrics.Text(), HasSubstr("# HELP parley_things Things.\n# TYPE parley_things gauge\n"
                                        "parley_things{state=\"a\\\"b\\\\c\\n\"} 123456789012\n"));
  source = nullptr;
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("parley_things")));
}

// What the port answers to these bytes until it closes.
std::string Ask(const std::string& address, const std::string& request) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
  to.sin_port = htons(static_cast<uint16_t>(port));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  std::string answer;
  char buffer[4096];
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  for (ssize_t count; (count = recv(fd, buffer, sizeof(buffer), 0)) > 0;) answer.append(buffer, count);
  close(fd);
  return answer;
}

class MetricsPortTest : public testing::Test {
 protected:
  rpc::Metrics metrics_;
  const std::unique_ptr<MetricsPort> port_ = *MetricsPort::Open("127.0.0.1:0", &metrics_);
};

TEST_F(MetricsPortTest, ServesOnePage) {
  const std::string page = Ask(port_->address(), "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(page, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(page, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(page, HasSubstr("process_start_time_seconds "));
  EXPECT_THAT(Ask(port_->address(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Ask(port_->address(), "DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 405"));
}

TEST_F(MetricsPortTest, SurvivesWhatIsNoRequest) {
  EXPECT_EQ(Ask(port_->address(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "");
  EXPECT_EQ(Ask(port_->address(), "GET /metrics HTTP/1.1\r\nX: " + std::string(20000, 'x') + "\r\n\r\n"), "");
  EXPECT_EQ(Ask(port_->address(), "POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"), "");
  EXPECT_EQ(Ask(port_->address(), std::string(100, '\0') + "\r\n\r\n"), "");
  EXPECT_THAT(Ask(port_->address(), "GET /metrics HTTP/1.0\r\n\r\n"), HasSubstr(" 200 OK"));
}

TEST_F(MetricsPortTest, SaysWhyItCannotListen) {
  EXPECT_EQ(Reason(MetricsPort::Open(port_->address(), &metrics_).status()), "ADDRESS_IN_USE");
  EXPECT_EQ(Reason(MetricsPort::Open("nowhere", &metrics_).status()), "ADDRESS_INVALID");
}

// Every service does so at its start.
const bool polled = transport::PollGrpcInLoop();

class HealthTest : public testing::Test {
 protected:
  // The code, and the status when it is OK.
  std::string Check(const std::string& service) {
    grpc::ClientContext context;
    HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    const grpc::Status status = stub_->Check(&context, request, &response);
    if (status.error_code() == grpc::StatusCode::NOT_FOUND) return "NOT_FOUND";
    return status.ok() ? HealthCheckResponse::ServingStatus_Name(response.status()) : status.error_message();
  }

  Health health_{{"parley.task.v1.TaskService"}};
  const std::unique_ptr<HealthPort> port_ = *HealthPort::Open("127.0.0.1:0", &health_);
  const std::shared_ptr<grpc::Channel> channel_ =
      grpc::CreateChannel(port_->address(), grpc::InsecureChannelCredentials());
  const std::unique_ptr<grpc::health::v1::Health::Stub> stub_ = grpc::health::v1::Health::NewStub(channel_);
};

TEST_F(HealthTest, FollowsTheProcessForTheWholeAndEachService) {
  for (const char* const service : {"", "parley.task.v1.TaskService"}) EXPECT_EQ(Check(service), "NOT_SERVING");
  health_.SetServing();
  for (const char* const service : {"", "parley.task.v1.TaskService"}) EXPECT_EQ(Check(service), "SERVING");
  EXPECT_EQ(Check("parley.key.v1.KeyService"), "NOT_FOUND");
  health_.SetStopping();
  for (const char* const service : {"", "parley.task.v1.TaskService"}) EXPECT_EQ(Check(service), "NOT_SERVING");
  health_.SetServing();
  EXPECT_EQ(Check(""), "NOT_SERVING");
}

TEST_F(HealthTest, ServesWhileAllAdmitCallers) {
  health_.SetServing();
  health_.SetAdmitting("keyd", false);
  health_.SetAdmitting("store", false);
  health_.SetAdmitting("keyd", true);
  EXPECT_EQ(Check(""), "NOT_SERVING");
  health_.SetAdmitting("store", true);
  EXPECT_EQ(Check(""), "SERVING");
}

TEST_F(HealthTest, TellsAWatcherAndThenEnds) {
  grpc::ClientContext context;
  HealthCheckRequest request;
  HealthCheckResponse response;
  const auto stream = stub_->Watch(&context, request);
  std::vector<std::string> seen;
  while (stream->Read(&response)) {
    seen.push_back(HealthCheckResponse::ServingStatus_Name(response.status()));
    if (seen.size() == 1) health_.SetServing();
    if (seen.size() == 2) health_.SetStopping();
  }
  EXPECT_THAT(seen, ElementsAre("NOT_SERVING", "SERVING", "NOT_SERVING"));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

// A change is told under a lock that a probe takes, too, and on the same connection.
TEST_F(HealthTest, ChangesWhileProbesComeHoldNothingUp) {
  ASSERT_TRUE(polled);
  std::atomic<bool> ended = false;
  std::vector<std::thread> peers;
  peers.emplace_back([this] {
    grpc::ClientContext context;
    HealthCheckRequest request;
    HealthCheckResponse response;
    request.set_service("keyd");
    const auto stream = stub_->Watch(&context, request);
    while (stream->Read(&response)) {
    }
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  });
  for (int i = 0; i < 4; ++i) {
    peers.emplace_back([this, &ended] {
      while (!ended) {
        grpc::ClientContext context;
        HealthCheckResponse response;
        EXPECT_TRUE(stub_->Check(&context, HealthCheckRequest(), &response).ok());
      }
    });
  }
  for (int i = 0; i < 5000; ++i) health_.SetPart("keyd", i % 2 == 0);
  ended = true;
  health_.SetStopping();
  for (std::thread& peer : peers) peer.join();
}

TEST_F(HealthTest, SaysWhyItCannotListen) {
  EXPECT_EQ(Reason(HealthPort::Open(port_->address(), &health_).status()), "ADDRESS_IN_USE");
  EXPECT_EQ(Reason(HealthPort::Open("nowhere", &health_).status()), "ADDRESS_INVALID");
}

TEST(ConfigCheck, TakesWhatCanBeUsed) {
  ConfigCheck check;
  check.Listens("--listen", "127.0.0.1:7443");
  check.Listens("--health-listen", ":0");
  check.Dialled("--public-address", "taskd.example:7443");
  check.Dialled("--public-address", "[2001:db8::1]:7443");
  check.Folder("--data", testing::TempDir() + "/to/be/made");
  check.ParentFolder("--ready-file", testing::TempDir() + "/ready");
  check.Found("--kek-file", absl::OkStatus());
  EXPECT_THAT(check.problems(), IsEmpty());
}

TEST(ConfigCheck, NamesEveryProblemAndItsFlag) {
  const std::string file = testing::TempDir() + "/a_file";
  fclose(fopen(file.c_str(), "w"));
  ConfigCheck check;
  check.Listens("--listen", "7443");
  check.Listens("--listen", "192.0.2.1:7443");
  check.Listens("--health-listen", "127.0.0.1:70000");
  check.Listens("--health-listen", "127.0.0.1:1000");
  check.Listens("--metrics-listen", "127.0.0.1:1000");
  check.Dialled("--public-address", "0.0.0.0:7443");
  check.Dialled("--public-address", "taskd.example:0");
  check.Folder("--data", file);
  check.Folder("--data", file + "/below");
  check.Found("--kek-file", absl::NotFoundError("the file a is missing; make it"));
  using testing::AllOf;
  EXPECT_THAT(
      check.problems(),
      ElementsAre(HasSubstr("--listen: \"7443\" is not an address"),
                  AllOf(HasSubstr("--listen: cannot listen on 192.0.2.1"), HasSubstr("address of this machine")),
                  HasSubstr("--health-listen: \"127.0.0.1:70000\""),
                  HasSubstr("--metrics-listen: port 1000 is another flag's too"),
                  HasSubstr("nobody can connect to 0.0.0.0:7443"), HasSubstr("taskd.example:0"),
                  HasSubstr("is not a folder"), HasSubstr("--data: cannot use"),
                  HasSubstr("--kek-file: the file a is missing; make it")));
}

}  // namespace
}  // namespace parley::service
