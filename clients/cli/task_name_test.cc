#include "clients/cli/task_name.h"

#include <gtest/gtest.h>

#include <string>

#include "clients/cli/command.h"

namespace parley::cli {
namespace {

bool Contains(const absl::Status& status, const std::string& text) {
  return std::string(status.message()).find(text) != std::string::npos;
}

TEST(NewTask, IdBeginsWithTheName) {
  const std::string id = *NewTaskId("nginx-tls");
  EXPECT_EQ(id.substr(0, 10), "nginx-tls-");
  EXPECT_EQ(id.size(), 14u);
  EXPECT_NE(id, *NewTaskId("nginx-tls"));
  EXPECT_EQ(NewTaskId(std::string(27, 'a'))->size(), 32u);
}

TEST(NewTask, ProposesANameInPlaceOfABadOne) {
  EXPECT_TRUE(Contains(NewTaskId("My nginx config!").status(), "e.g. my-nginx-config"));
  EXPECT_TRUE(Contains(NewTaskId("7up").status(), "e.g. up"));
  const absl::Status longest = NewTaskId(std::string(10'000, 'x')).status();
  EXPECT_TRUE(IsUsageError(longest));
  EXPECT_TRUE(Contains(longest, "of 10000 letters"));
  EXPECT_LT(longest.message().size(), 300u);
  for (const char* bad : {"", "-", "ä", "a-", "A", "a_b", "\x1b[31m", "7"}) {
    EXPECT_TRUE(IsUsageError(NewTaskId(bad).status())) << bad;
  }
}

TEST(TaskNames, AreTakenWithOrWithoutTheCollection) {
  EXPECT_EQ(*FullTaskName("nginx-7k3q"), "tasks/nginx-7k3q");
  EXPECT_EQ(*FullTaskName("tasks/nginx-7k3q"), "tasks/nginx-7k3q");
  EXPECT_EQ(TaskId("tasks/nginx-7k3q"), "nginx-7k3q");
  for (const char* bad : {"", "tasks/", "a/b", "..", "tasks/a/participants/b", "Nginx"}) {
    EXPECT_TRUE(IsUsageError(FullTaskName(bad).status())) << bad;
  }
}

}  // namespace
}  // namespace parley::cli
