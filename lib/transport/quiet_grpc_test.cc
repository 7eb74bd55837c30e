// gRPC's timers in a quiet process: each fires once and not before its time, whoever sets and cancels others meanwhile,
// and nothing wakes the process for those that are not due.
#include "lib/transport/quiet_grpc.h"

#include <dirent.h>
#include <grpcpp/alarm.h>
#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace parley::transport {
namespace {

using Clock = std::chrono::system_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

class QuietGrpc : public testing::Test {
 protected:
  static void SetUpTestSuite() { UseGrpcQuietly(); }
};

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PARLEY_THREAD_SANITIZER
#endif
#endif

// How often threads of this process have gone to sleep so far.
int64_t Sleeps() {
  DIR* const tasks = opendir("/proc/self/task");
  const absl::Cleanup close = [tasks] { closedir(tasks); };
  int64_t sum = 0;
  while (const dirent* const entry = readdir(tasks)) {
    FILE* const status = fopen(absl::StrCat("/proc/self/task/", entry->d_name, "/status").c_str(), "r");
    if (status == nullptr) continue;
    char line[256];
    int64_t count = 0;
    while (fgets(line, sizeof(line), status) != nullptr) {
      if (sscanf(line, "voluntary_ctxt_switches: %ld", &count) == 1) sum += count;
    }
    fclose(status);
  }
  return sum;
}

TEST_F(QuietGrpc, FiresEachTimerOnceAndNotBeforeItsTime) {
  constexpr int kTimers = 300;
  grpc::CompletionQueue queue;
  std::mt19937 random(7);
  std::vector<std::unique_ptr<grpc::Alarm>> alarms;
  std::vector<Clock::time_point> due;
  for (int i = 0; i < kTimers; ++i) {
    due.push_back(Clock::now() + milliseconds(std::uniform_int_distribution<int>(0, 3000)(random)));
    alarms.push_back(std::make_unique<grpc::Alarm>());
    alarms.back()->Set(&queue, due.back(), reinterpret_cast<void*>(static_cast<intptr_t>(i)));
  }
  for (int fired = 0; fired < kTimers; ++fired) {
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    ASSERT_TRUE(ok);
    // Both clocks are rounded to milliseconds on the way.
    EXPECT_GE(Clock::now() + milliseconds(5), due[reinterpret_cast<intptr_t>(tag)]);
  }
  queue.Shutdown();
}

TEST_F(QuietGrpc, FiresATimerThatComesWhileALaterOneIsWaitedFor) {
  grpc::CompletionQueue queue;
  grpc::Alarm later, sooner;
  later.Set(&queue, Clock::now() + seconds(600), reinterpret_cast<void*>(1));
  void* tag = nullptr;
  bool ok = false;
  // Nothing comes, and gRPC's threads sleep until the later one.
  ASSERT_EQ(queue.AsyncNext(&tag, &ok, Clock::now() + seconds(1)), grpc::CompletionQueue::TIMEOUT);
  for (const int wait : {1, 1100, 2500}) {
    sooner.Set(&queue, Clock::now() + milliseconds(wait), reinterpret_cast<void*>(2));
    ASSERT_EQ(queue.AsyncNext(&tag, &ok, Clock::now() + seconds(300)), grpc::CompletionQueue::GOT_EVENT) << wait;
    EXPECT_EQ(tag, reinterpret_cast<void*>(2));
    EXPECT_TRUE(ok);
  }
  later.Cancel();
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_FALSE(ok);
  queue.Shutdown();
}

TEST_F(QuietGrpc, LosesNoTimerAmongManyThatAreSetAndCancelled) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([thread] {
      std::mt19937 random(thread);
      grpc::CompletionQueue queue;
      for (int round = 0; round < 200; ++round) {
        const int wait = std::uniform_int_distribution<int>(0, 20)(random);
        grpc::Alarm kept, cancelled;
        cancelled.Set(&queue, Clock::now() + milliseconds(wait + 5), reinterpret_cast<void*>(1));
        kept.Set(&queue, Clock::now() + milliseconds(wait), reinterpret_cast<void*>(2));
        if (round % 2 == 0) cancelled.Cancel();
        for (int events = 0; events < 2; ++events) {
          void* tag = nullptr;
          bool ok = false;
          ASSERT_EQ(queue.AsyncNext(&tag, &ok, Clock::now() + seconds(60)), grpc::CompletionQueue::GOT_EVENT);
          if (tag == reinterpret_cast<void*>(2)) {
            EXPECT_TRUE(ok);
          }
        }
      }
      queue.Shutdown();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(QuietGrpc, EndsACallAtItsDeadline) {
  // A server that takes connections and says nothing.
  const std::string name = absl::StrCat("parley-quiet-", getpid());
  const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const absl::Cleanup close_server = [server] { close(server); };
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address.sun_path + 1);
  const socklen_t size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_EQ(bind(server, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(server, 8), 0);
  grpc::GenericStub stub(grpc::CreateChannel(absl::StrCat("unix-abstract:", name), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(Clock::now() + seconds(2));
  grpc::CompletionQueue queue;
  const grpc::ByteBuffer request;
  grpc::ByteBuffer response;
  const auto call = stub.PrepareUnaryCall(&context, "/parley/Nothing", request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&response, &status, reinterpret_cast<void*>(1));
  void* tag = nullptr;
  bool ok = false;
  ASSERT_EQ(queue.AsyncNext(&tag, &ok, Clock::now() + seconds(120)), grpc::CompletionQueue::GOT_EVENT);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  queue.Shutdown();
}

TEST_F(QuietGrpc, SleepsUntilATimerIsDue) {
  grpc::CompletionQueue queue;
  grpc::Alarm alarm;
  alarm.Set(&queue, Clock::now() + seconds(12), nullptr);
  void* tag = nullptr;
  bool ok = false;
  // What was due before has gone.
  ASSERT_EQ(queue.AsyncNext(&tag, &ok, Clock::now() + seconds(2)), grpc::CompletionQueue::TIMEOUT);
  const int64_t before = Sleeps();
  ASSERT_TRUE(queue.Next(&tag, &ok));
#ifdef PARLEY_THREAD_SANITIZER
  // It has a thread of its own, which wakes ten times a second.
  constexpr int kOfTheSanitizer = 110;
#else
  constexpr int kOfTheSanitizer = 0;
#endif
  // gRPC as it is wakes about forty times. One wakes for the timer, one takes its place, and this one hears of it.
  EXPECT_LE(Sleeps() - before, kOfTheSanitizer + 8);
  queue.Shutdown();
}

TEST_F(QuietGrpc, StartsItsChildrenInAnUnchangedEnvironment) {
  EXPECT_EQ(getenv("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS"), nullptr);
}

}  // namespace
}  // namespace parley::transport
