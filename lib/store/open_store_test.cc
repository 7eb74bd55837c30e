#include "lib/store/open_store.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"

namespace parley::store {
namespace {

TEST(OpenStore, ParsesUrls) {
  EXPECT_EQ(ParseStoreUrl("sqlite:/var/lib/parley/taskd.db")->path, "/var/lib/parley/taskd.db");
  const StoreUrl two = *ParseStoreUrl("etcd:https://a:2379,https://[2001:db8::1]:2379/parley/example");
  EXPECT_TRUE(two.is_etcd());
  EXPECT_THAT(two.endpoints, testing::ElementsAre("https://a:2379", "https://[2001:db8::1]:2379"));
  EXPECT_EQ(two.prefix, "parley/example");
  EXPECT_EQ(ParseStoreUrl("etcd:http://127.0.0.1:2379")->prefix, "parley");
  const StoreUrl local = *ParseStoreUrl("etcd:unix:/run/etcd.sock");
  EXPECT_THAT(local.endpoints, testing::ElementsAre("unix:/run/etcd.sock"));
  EXPECT_EQ(local.prefix, "parley");
  for (const char* const bad : {"", "sqlite:", "etcd:", "/var/lib/taskd.db", "etcd:https://a:2379,", "https://a:2379",
                                "etcd:https://a:2379/", "redis:a", "etcd:,https://a:2379"}) {
    EXPECT_EQ(Reason(ParseStoreUrl(bad).status()), "STORE_URL") << bad;
  }
}

TEST(OpenStore, OpensTheEngineThatIsNamed) {
  std::string folder = std::filesystem::path(testing::TempDir()) / "open.XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const StoreOptions sqlite{.url = "sqlite:" + folder + "/parley.db", .service = "taskd"};
  EXPECT_TRUE(CheckStoreOptions(sqlite).ok());
  const auto store = OpenStore(sqlite);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_TRUE((*store)->Commit(Transaction().Set("a", "1")).ok());
  const StoreOptions away{.url = "etcd:http://127.0.0.1:1", .service = "taskd"};
  EXPECT_TRUE(CheckStoreOptions(away).ok());
  EXPECT_EQ(Reason(OpenStore(away).status()), "STORE_UNAVAILABLE");
  const StoreOptions open{.url = "etcd:http://etcd.example:2379", .service = "taskd"};
  EXPECT_EQ(Reason(CheckStoreOptions(open)), "STORE_OPTIONS");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace parley::store
