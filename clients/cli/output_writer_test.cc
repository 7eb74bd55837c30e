#include "clients/cli/output_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace parley::cli {
namespace {

// Two pipes in the place of standard output and standard error.
class OutputWriterTest : public testing::Test {
 protected:
  OutputWriterTest() {
    signal(SIGPIPE, SIG_IGN);
    EXPECT_EQ(pipe2(out_, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(error_, O_CLOEXEC), 0);
    // Small, but of more than one page: poll calls a page that holds anything full.
    fcntl(out_[1], F_SETPIPE_SZ, 8192);
  }
  ~OutputWriterTest() override {
    for (const int fd : {out_[0], out_[1], error_[0], error_[1]}) close(fd);
  }

  OutputWriter::Options Options(size_t max_bytes = 100'000) const {
    OutputWriter::Options options;
    options.max_bytes = max_bytes;
    options.note = [](int64_t lines) { return absl::StrCat(lines, " dropped"); };
    options.out_fd = out_[1];
    options.error_fd = error_[1];
    return options;
  }

  // Reads standard output until `bytes` have come.
  std::string ReadOut(size_t bytes) {
    std::string text;
    char piece[4096];
    while (text.size() < bytes) {
      const ssize_t got = read(out_[0], piece, std::min(sizeof(piece), bytes - text.size()));
      if (got <= 0) break;
      text.append(piece, static_cast<size_t>(got));
    }
    return text;
  }

  // Reads a line from standard output, and leaves its end out.
  std::string ReadLine() {
    std::string line, next;
    while ((next = ReadOut(1)) != "\n" && !next.empty()) line += next;
    return line;
  }

  int out_[2] = {}, error_[2] = {};
};

constexpr absl::Duration kLong = absl::Seconds(60);

TEST_F(OutputWriterTest, WritesLinesInOrder) {
  OutputWriter writer(Options());
  writer.WriteLine("one");
  writer.WriteLine("two");
  writer.WriteErrorLine("wrong");
  EXPECT_TRUE(writer.Finish([] { return kLong; }));
  EXPECT_EQ(ReadOut(8), "one\ntwo\n");
  char text[16] = {};
  EXPECT_EQ(read(error_[0], text, sizeof(text)), 6);
  EXPECT_STREQ(text, "wrong\n");
}

TEST_F(OutputWriterTest, NeverWaitsForAReaderAndSaysWhatItDropped) {
  OutputWriter writer(Options(/*max_bytes=*/10'000));
  const std::string line(99, 'x');
  for (int i = 0; i < 10'000; ++i) writer.WriteLine(line);
  EXPECT_FALSE(writer.Finish([] { return absl::Milliseconds(100); }));
  // Standard error is not held up by that.
  writer.WriteErrorLine("wrong");
  char text[16] = {};
  EXPECT_EQ(read(error_[0], text, sizeof(text)), 6);

  // What fits into the pipe and the queue comes whole; of the rest a line tells, where it is missing.
  int64_t kept = 0, dropped = 0;
  while (kept + dropped < 10'000) {
    const std::string got = ReadLine();
    int64_t missing = 0;
    if (absl::SimpleAtoi(absl::StripSuffix(got, " dropped"), &missing)) {
      EXPECT_GT(missing, 0);
      dropped += missing;
    } else {
      ASSERT_EQ(got, line);
      ++kept;
    }
  }
  EXPECT_GE(kept, 100);
  EXPECT_GT(dropped, 0);
  EXPECT_TRUE(writer.Finish([] { return kLong; }));
}

TEST_F(OutputWriterTest, KeepsOnlyTheNewestRedraw) {
  OutputWriter writer(Options());
  writer.WriteLine(std::string(50'000, 'x'));
  for (int i = 0; i <= 1000; ++i) writer.Redraw(absl::StrCat(i, " %"));
  const std::string last = "\r\x1b[K1000 %";
  EXPECT_EQ(ReadOut(50'001 + last.size()).substr(50'001), last);
  EXPECT_TRUE(writer.Finish([] { return kLong; }));
}

TEST_F(OutputWriterTest, SwallowsWhatNobodyCanRead) {
  OutputWriter writer(Options());
  close(out_[0]);
  for (int i = 0; i < 1000; ++i) writer.WriteLine("gone");
  EXPECT_TRUE(writer.Finish([] { return kLong; }));
  out_[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

TEST_F(OutputWriterTest, GoesOnWhereADiskIsFull) {
  OutputWriter::Options options = Options();
  options.out_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
  OutputWriter writer(options);
  for (int i = 0; i < 100; ++i) writer.WriteLine("lost");
  EXPECT_TRUE(writer.Finish([] { return kLong; }));
  close(options.out_fd);
}

}  // namespace
}  // namespace parley::cli
