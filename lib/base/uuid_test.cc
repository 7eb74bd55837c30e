#include "lib/base/uuid.h"

#include "gtest/gtest.h"

namespace parley {
namespace {

TEST(UuidTest, HasOneForm) {
  EXPECT_TRUE(IsUuid("6f1b0a34-0c5e-4f0c-9f53-0f7c6c9a3a11"));
  EXPECT_TRUE(IsUuid("6F1B0A34-0C5E-4F0C-9F53-0F7C6C9A3A11"));
  for (const char* text : {"", "6f1b0a34-0c5e-4f0c-9f53-0f7c6c9a3a1", "6f1b0a34-0c5e-4f0c-9f53-0f7c6c9a3a111",
                           "6f1b0a340-c5e-4f0c-9f53-0f7c6c9a3a11", "6f1b0a34-0c5e-4f0c-9f53-0f7c6c9a3a1g"}) {
    EXPECT_FALSE(IsUuid(text)) << text;
  }
}

}  // namespace
}  // namespace parley
