#include "lib/transport/grpc_log.h"

#include <grpc/support/log.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lib/base/log_sink.h"
#include "lib/base/mutex.h"

namespace parley::transport {
namespace {

// Once for the process, as is the limit: one test.
TEST(GrpcLog, BecomesFewBoundedLinesOfOurs) {
  Mutex mutex;
  std::vector<std::string> lines;
  SetLogSink([&](const LogRecord& record) {
    MutexLock lock(&mutex);
    lines.emplace_back(record.line);
  });
  // grpc_init does this for others.
  gpr_log_verbosity_init();
  TakeGrpcLog();
  gpr_log(GPR_ERROR, "peer said: %s", "a\"}\n{\"level\":\"info\",\"message\":\"forged\"}\n\x1b[2J\xff");
  gpr_log(GPR_ERROR, "%s", std::string(100'000, 'x').c_str());
  for (int i = 0; i < 100; ++i) gpr_log(GPR_ERROR, "again");
  SetLogSink(nullptr);
  gpr_set_log_function(nullptr);
  MutexLock lock(&mutex);
  // The burst, and perhaps a few that the passing time allows.
  ASSERT_GE(lines.size(), 20);
  EXPECT_LE(lines.size(), 40);
  for (const std::string& line : lines) {
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    EXPECT_LT(line.size(), 1500);
    EXPECT_EQ(std::count_if(line.begin(), line.end(), [](char byte) { return byte < ' ' && byte > 0; }), 1);
  }
  EXPECT_NE(lines[0].find(
                R"("level":"error","service":"parley","message":"grpc",)"
                R"("text":"peer said: a\"}\u000a{\"level\":\"info\",\"message\":\"forged\"}\u000a\u001b[2J\ufffd")"),
            std::string::npos)
      << lines[0];
  EXPECT_NE(lines[0].find("grpc_log_test.cc:"), std::string::npos);
  EXPECT_NE(lines[1].find("xx…\""), std::string::npos);
}

}  // namespace
}  // namespace parley::transport
