#include "lib/keys/labels.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace parley::keys {
namespace {

Labels One(const std::string& key, const std::string& value) {
  Labels labels;
  labels[key] = value;
  return labels;
}

TEST(Labels, HaveBounds) {
  EXPECT_TRUE(CheckLabels(Labels()).ok());
  EXPECT_TRUE(CheckLabels(One(std::string(256, 'k'), std::string(256, 'v'))).ok());
  EXPECT_TRUE(CheckLabels(One("site", "")).ok());
  EXPECT_EQ(Reason(CheckLabels(One("", "x"))), "LABEL_MALFORMED");
  EXPECT_EQ(Reason(CheckLabels(One(std::string(257, 'k'), "x"))), "LABEL_MALFORMED");
  EXPECT_EQ(Reason(CheckLabels(One("k", std::string(257, 'v')))), "LABEL_MALFORMED");
  Labels many;
  for (int i = 0; i < 64; ++i) many[absl::StrCat("k", i)] = "v";
  EXPECT_TRUE(CheckLabels(many).ok());
  many["one more"] = "v";
  EXPECT_EQ(Reason(CheckLabels(many)), "TOO_MANY_LABELS");
}

TEST(Labels, NeverLookLikeFacts) {
  EXPECT_EQ(Reason(CheckLabels(One("fact:os", "debian"))), "LABEL_MALFORMED");
  EXPECT_TRUE(CheckSizes(One("fact:os", "debian"), "selector labels").ok());
  EXPECT_TRUE(CheckLabels(One("fact", "fact:os")).ok());
}

TEST(Labels, AreShownInTheOrderOfTheirNames) {
  Labels labels = One("site", "berlin");
  labels["role"] = "web";
  EXPECT_EQ(ShowLabels(labels), "role=web, site=berlin");
  EXPECT_EQ(ShowLabels(Labels()), "");
}

TEST(Labels, AreTheSameByNamesAndValues) {
  EXPECT_TRUE(AreSame(Labels(), Labels()));
  EXPECT_TRUE(AreSame(One("a", "b"), One("a", "b")));
  EXPECT_FALSE(AreSame(One("a", "b"), One("a", "c")));
  EXPECT_FALSE(AreSame(One("a", "b"), One("c", "b")));
  EXPECT_FALSE(AreSame(One("a", "b"), Labels()));
  Labels two = One("a", "b");
  two["c"] = "d";
  EXPECT_FALSE(AreSame(One("a", "b, c=d"), two));
}

}  // namespace
}  // namespace parley::keys
