#include "gtest/gtest.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/rpc/page.h"
#include "lib/rpc/request_id.h"
#include "parley/key/v1/key_service.pb.h"

namespace parley::rpc {
namespace {

constexpr char kId[] = "6f1b0a34-0c5e-4f0c-9f53-0f7c6c9a3a11";

// What is stored must be found again by the next version.
TEST(RequestId, HashesTheSameBytesForEver) {
  EXPECT_EQ(HexEncode(RequestHash("parley request v1", "operator/olga", kId)),
            "f5c07b81e1c06dd6d402683840797b364c34310b4114c272eb1c11cdfded2406");
  key::v1::LabelDeviceRequest request;
  request.set_name("web-1");
  for (const char* key : {"b", "a", "c"}) (*request.mutable_set())[key] = std::string(1, key[0] - 'a' + '1');
  EXPECT_EQ(HexEncode(RequestDigest("LabelDevice/", request)),
            "7e1ae1286a00fac7504623a5621cb3a4ad3846b1e520e91213bc2b156d9ca6f3");
}

TEST(Page, GoesOnBehindTheLastKey) {
  std::string begin = "k/";
  EXPECT_TRUE(ApplyPageToken("", "k0", &begin).ok());
  EXPECT_EQ(begin, "k/");
  EXPECT_TRUE(ApplyPageToken(PageToken("k/a"), "k0", &begin).ok());
  EXPECT_EQ(begin, std::string("k/a\0", 4));
}

TEST(Page, RefusesATokenOfAnotherList) {
  for (const std::string& token : {PageToken("j/a"), PageToken("k0"), std::string("nonsense!")}) {
    std::string begin = "k/";
    EXPECT_EQ(Reason(ApplyPageToken(token, "k0", &begin)), "PAGE_TOKEN");
    EXPECT_EQ(begin, "k/");
  }
}

}  // namespace
}  // namespace parley::rpc
