#include "lib/backup/archive.h"

#include <unistd.h>

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/backup/sealed_stream.h"
#include "lib/base/error.h"
#include "lib/crypto/kdf.h"

namespace parley::backup {
namespace {

constexpr char kPassword[] = "correct horse battery";

class ArchiveFile : public testing::Test {
 protected:
  ArchiveFile() {
    std::string path = testing::TempDir() + "/archive.XXXXXX";
    fd_ = mkstemp(path.data());
    EXPECT_GE(fd_, 0);
    unlink(path.c_str());
  }
  ~ArchiveFile() override { close(fd_); }

  void Write(const std::vector<std::pair<std::string, std::string>>& entries) {
    const auto archive = *ArchiveWriter::Create(fd_, "it", Secret::CopyOf(kPassword), label_);
    for (const auto& [name, content] : entries) {
      ASSERT_TRUE(archive->Begin({name, content.size()}).ok());
      ASSERT_TRUE(archive->Write(content).ok());
    }
    digest_ = *archive->Finish();
  }

  std::string Bytes() const {
    std::string bytes(static_cast<size_t>(lseek(fd_, 0, SEEK_END)), '\0');
    EXPECT_EQ(pread(fd_, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    return bytes;
  }
  void Replace(const std::string& bytes) {
    ASSERT_EQ(ftruncate(fd_, 0), 0);
    ASSERT_EQ(pwrite(fd_, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }

  absl::StatusOr<std::unique_ptr<ArchiveReader>> Open(const std::string& password = kPassword) {
    EXPECT_EQ(lseek(fd_, 0, SEEK_SET), 0);
    return ArchiveReader::Open(fd_, "it", Secret::CopyOf(password));
  }

  const Label label_ = {absl::FromUnixSeconds(1'795'300'000), {"taskd", "keyd"}};
  int fd_ = -1;
  std::string digest_;
};

TEST_F(ArchiveFile, ComesBack) {
  const std::string large = crypto::RandomBytes(5 << 20) + std::string(5 << 20, 'x');
  Write({{"taskd/empty", ""}, {"taskd/large", large}, {"keyd/kek", "k"}});
  EXPECT_LT(Bytes().size(), size_t{6} << 20);
  const auto archive = *Open();
  EXPECT_EQ(archive->label().time, label_.time);
  EXPECT_EQ(archive->label().services, label_.services);
  std::vector<std::pair<std::string, std::string>> entries;
  ArchiveEntry entry;
  while (*archive->Next(&entry)) {
    std::string content;
    for (absl::string_view bytes = *archive->Read(); !bytes.empty(); bytes = *archive->Read()) {
      content += std::string(bytes);
    }
    EXPECT_EQ(content.size(), entry.bytes);
    entries.emplace_back(entry.name, content);
  }
  EXPECT_EQ(archive->digest(), digest_);
  ASSERT_EQ(entries.size(), size_t{3});
  EXPECT_EQ(entries[0], std::make_pair(std::string("taskd/empty"), std::string()));
  EXPECT_TRUE(entries[1].second == large);
  EXPECT_EQ(entries[2], std::make_pair(std::string("keyd/kek"), std::string("k")));
}

TEST_F(ArchiveFile, EntriesMayBePassedOver) {
  Write({{"taskd/large", crypto::RandomBytes(3 << 20)}, {"keyd/kek", "k"}});
  const auto archive = *Open();
  ArchiveEntry entry;
  EXPECT_TRUE(*archive->Next(&entry));
  EXPECT_TRUE(*archive->Next(&entry));
  EXPECT_EQ(*archive->Read(), "k");
  EXPECT_FALSE(*archive->Next(&entry));
  EXPECT_EQ(archive->digest(), digest_);
}

TEST_F(ArchiveFile, ShowsNothingWithoutThePassword) {
  Write({{"keyd/a-name-to-look-for", "a content to look for"}});
  EXPECT_THAT(Bytes(), testing::Not(testing::HasSubstr("look-for")));
  EXPECT_THAT(Bytes(), testing::Not(testing::HasSubstr("keyd")));
  EXPECT_EQ(Reason(Open("another password").status()), "BACKUP_PASSWORD");
}

TEST_F(ArchiveFile, TheSameTwiceLooksDifferent) {
  Write({{"keyd/kek", "k"}});
  const std::string first = Bytes();
  ASSERT_EQ(ftruncate(fd_, 0), 0);
  ASSERT_EQ(lseek(fd_, 0, SEEK_SET), 0);
  Write({{"keyd/kek", "k"}});
  const std::string second = Bytes();
  ASSERT_EQ(first.size(), second.size());
  // Behind the parameters, which are no secret.
  EXPECT_NE(first.substr(20, 44), second.substr(20, 44));
  EXPECT_NE(first.substr(100), second.substr(100));
}

// A bit of each field; those that cost no Argon2id, all.
TEST_F(ArchiveFile, ItsHeaderIsAuthentic) {
  Write({{"keyd/kek", "k"}});
  const std::string bytes = Bytes();
  struct Case {
    size_t at;
    const char* reason;
  };
  const Case cases[] = {
      {0, "BACKUP_NOT_ONE"},    // magic
      {3, "BACKUP_VERSION"},    // version
      {4, "BACKUP_DAMAGED"},    // the sealed key's magic
      {8, "BACKUP_DAMAGED"},    // memory: 16 GiB more
      {12, "BACKUP_DAMAGED"},   // passes
      {16, "BACKUP_DAMAGED"},   // lanes
      {20, "BACKUP_PASSWORD"},  // salt
      {36, "BACKUP_PASSWORD"},  // nonce
      {48, "BACKUP_PASSWORD"},  // the sealed key
      {95, "BACKUP_PASSWORD"},  // its tag
      {96, "BACKUP_DAMAGED"},   // the first piece's length
  };
  for (const Case& changed : cases) {
    std::string other = bytes;
    other[changed.at] = static_cast<char>(other[changed.at] ^ 1);
    Replace(other);
    EXPECT_EQ(Reason(Open().status()), changed.reason) << changed.at;
  }
  for (size_t size = 0; size < 96; ++size) {
    Replace(bytes.substr(0, size));
    EXPECT_EQ(Reason(Open().status()), size < 4 ? "BACKUP_NOT_ONE" : "BACKUP_DAMAGED") << size;
  }
}

TEST_F(ArchiveFile, ACutInItsContentIsFound) {
  Write({{"taskd/large", crypto::RandomBytes(3 << 20)}, {"keyd/kek", "k"}});
  const std::string bytes = Bytes();
  for (const size_t size : {bytes.size() - 1, bytes.size() / 2, 96 + 4 + kPieceBytes + crypto::kAeadTagBytes}) {
    Replace(bytes.substr(0, size));
    const auto archive = *Open();
    ArchiveEntry entry;
    absl::StatusOr<bool> more = true;
    while (more.ok() && *more) more = archive->Next(&entry);
    EXPECT_EQ(Reason(more.status()), "BACKUP_DAMAGED") << size;
  }
}

TEST_F(ArchiveFile, EntriesHaveTheBytesThatTheySay) {
  const auto archive = *ArchiveWriter::Create(fd_, "it", Secret::CopyOf(kPassword), label_);
  ASSERT_TRUE(archive->Begin({"keyd/kek", 2}).ok());
  EXPECT_FALSE(archive->Write("abc").ok());
  ASSERT_TRUE(archive->Write("a").ok());
  EXPECT_FALSE(archive->Begin({"keyd/other", 2}).ok());
  EXPECT_FALSE(archive->Finish().ok());
}

}  // namespace
}  // namespace parley::backup
