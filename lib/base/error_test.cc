#include "lib/base/error.h"

#include <errno.h>

#include <memory>

#include "gtest/gtest.h"

namespace parley {
namespace {

absl::Status Refuse() { return Error(absl::StatusCode::kInvalidArgument, "TOO_LONG", "the name is too long"); }

TEST(Error, CarriesCodeReasonAndSentence) {
  EXPECT_EQ(Refuse().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Reason(Refuse()), "TOO_LONG");
  EXPECT_EQ(Refuse().message(), "the name is too long");
  EXPECT_EQ(Reason(absl::OkStatus()), "");
  EXPECT_EQ(Reason(absl::InternalError("plain")), "");
}

TEST(Error, KeepsCodeAndReasonWhenAnnotated) {
  const absl::Status status = Annotate(Refuse(), "task web");
  EXPECT_EQ(status.message(), "task web: the name is too long");
  EXPECT_EQ(Reason(status), "TOO_LONG");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
  EXPECT_EQ(Reason(Annotate(absl::InternalError("plain"), "x")), "");
}

TEST(Error, GivesTheSentenceOfErrno) { EXPECT_EQ(ErrnoText(ENOENT), "No such file or directory"); }

absl::StatusOr<std::unique_ptr<int>> Half(int value) {
  if (value % 2 != 0) return Refuse();
  return std::make_unique<int>(value / 2);
}

absl::StatusOr<int> Quarter(int value) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> half, Half(value));
  std::unique_ptr<int> quarter;
  ASSIGN_OR_RETURN(quarter, Half(*half));
  RETURN_IF_ERROR(absl::OkStatus());
  return *quarter;
}

TEST(ErrorMacros, ReturnTheFirstErrorOrGoOn) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Reason(Quarter(3).status()), "TOO_LONG");
  EXPECT_EQ(Reason(Quarter(2).status()), "TOO_LONG");
}

}  // namespace
}  // namespace parley
