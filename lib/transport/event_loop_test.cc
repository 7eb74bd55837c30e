#include "lib/transport/event_loop.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace parley::transport {
namespace {

struct CountingWatch final : EventLoop::Watch {
  void OnEvents(uint32_t) override { ++events; }
  int events = 0;
};

// Between fork and exec the child's copy keeps the open file alive, and with it what epoll knows of it.
TEST(EventLoop, ForgetsAClosedSocketThatSomebodyElseStillHolds) {
  EventLoop loop;
  CountingWatch watch;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  Fd end(pair[0]);
  loop.Run([&] { ASSERT_TRUE(loop.Add(end.get(), EPOLLIN, &watch)); });
  const int copy = dup(end.get());
  loop.Run([&] { loop.Close(&end); });
  EXPECT_FALSE(end.ok());
  ASSERT_EQ(write(pair[1], "x", 1), 1);
  // Two rounds: what was pending before the first has been told by the second.
  for (int round = 0; round < 2; ++round) loop.Run([] {});
  EXPECT_EQ(watch.events, 0);
  close(copy);
  close(pair[1]);
}

}  // namespace
}  // namespace parley::transport
