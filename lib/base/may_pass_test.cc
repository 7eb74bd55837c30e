#include "lib/base/may_pass.h"

#include "gtest/gtest.h"
#include "lib/base/error.h"

namespace parley {
namespace {

TEST(MayPass, TellsTheWayToAServerFromWhatItSays) {
  for (const absl::Status& passes :
       {Unavailable("SERVER_STOPPING", ""), Unavailable("CONNECTION_REFUSED", ""), absl::UnavailableError("closed"),
        NotFound("NAME_NOT_FOUND", ""), Error(absl::StatusCode::kDeadlineExceeded, "CONNECTION_TIMEOUT", ""),
        Error(absl::StatusCode::kCancelled, "CALL_CANCELLED", ""), absl::InternalError("RST_STREAM"),
        absl::UnknownError("Stream removed")}) {
    EXPECT_TRUE(MayPass(passes)) << passes;
  }
  for (const absl::Status& stays :
       {absl::OkStatus(), NotFound("TASK_NOT_FOUND", ""), Unauthenticated("KEY_REFUSED", ""),
        Unauthenticated("KEY_EXPIRED", ""), Error(absl::StatusCode::kInternal, "SERVER_START_FAILED", ""),
        FailedPrecondition("NOT_A_PARLEY_SERVER", ""), Error(absl::StatusCode::kCancelled, "STOPPED", "")}) {
    EXPECT_FALSE(MayPass(stays)) << stays;
  }
}

}  // namespace
}  // namespace parley
