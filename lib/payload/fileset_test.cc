#include "lib/payload/fileset.h"

#include <limits>

#include "gtest/gtest.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"

namespace parley::payload {
namespace {

using task::v1::FileEntry;

FileEntry* AddFile(Files* files, const std::string& path, const std::string& content = "x") {
  FileEntry* entry = files->Add();
  entry->set_path(path);
  entry->set_type(FileEntry::TYPE_REGULAR);
  entry->set_mode(0644);
  entry->set_size(static_cast<int64_t>(content.size()));
  entry->set_sha256(crypto::Sha256(content));
  if (!content.empty()) entry->add_chunks(crypto::Sha256(content));
  return entry;
}

FileEntry* AddLink(Files* files, const std::string& path, const std::string& target) {
  FileEntry* entry = files->Add();
  entry->set_path(path);
  entry->set_type(FileEntry::TYPE_SYMLINK);
  entry->set_link_target(target);
  return entry;
}

std::string ReasonOfPath(const std::string& path) {
  Files files;
  AddFile(&files, path);
  return Reason(ValidateFiles(files));
}

std::string ReasonOfLink(const std::string& path, const std::string& target) {
  Files files;
  AddLink(&files, path, target);
  return Reason(ValidateFiles(files));
}

std::string ReasonOfPair(const std::string& first, const std::string& second) {
  Files files;
  AddFile(&files, first);
  AddFile(&files, second);
  return Reason(ValidateFiles(files));
}

TEST(FileSet, AcceptsOrdinaryNames) {
  for (const char* path : {"a", "a/b/c", "..a", "a..", "a b", "...", "Straße/日本語.conf", "-rf", "a\\b"}) {
    EXPECT_EQ(ReasonOfPath(path), "") << path;
  }
  EXPECT_EQ(ReasonOfPath(std::string(255, 'n')), "");
}

TEST(FileSet, RefusesPathsThatLeaveThePayload) {
  for (const char* path : {"..", "../a", "a/..", "a/../b", "a/../../b"})
    EXPECT_EQ(ReasonOfPath(path), "PATH_ESCAPES") << path;
  for (const char* path : {"/", "/etc/passwd", "//a"}) EXPECT_EQ(ReasonOfPath(path), "PATH_ABSOLUTE") << path;
}

TEST(FileSet, RefusesMalformedPaths) {
  for (const char* path : {"", ".", "./a", "a/./b", "a//b", "a/", "a\nb", "a\x1b[2J", "a\x7f"}) {
    EXPECT_EQ(ReasonOfPath(path), "PATH_MALFORMED") << path;
  }
  EXPECT_EQ(ReasonOfPath(std::string("a\0b", 3)), "PATH_MALFORMED");
  for (const char* path :
       {"\xff", "a\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    EXPECT_EQ(ReasonOfPath(path), "PATH_MALFORMED") << HexEncode(path);
  }
}

TEST(FileSet, RefusesOverlongPathsInAShortSentence) {
  EXPECT_EQ(ReasonOfPath(std::string(256, 'n')), "PATH_TOO_LONG");
  Files files;
  AddFile(&files, std::string(10000, 'n'));
  const absl::Status status = ValidateFiles(files);
  EXPECT_EQ(Reason(status), "PATH_TOO_LONG");
  EXPECT_LT(status.message().size(), size_t{300});
}

TEST(FileSet, RefusesDuplicatesAndDisorder) {
  EXPECT_EQ(ReasonOfPair("a", "a"), "PATH_TWICE");
  EXPECT_EQ(ReasonOfPair("b", "a"), "PATH_ORDER");
}

TEST(FileSet, RefusesAFileThatIsAlsoAFolder) {
  EXPECT_EQ(ReasonOfPair("a", "a/b"), "PATH_BELOW_FILE");
  EXPECT_EQ(ReasonOfPair("a/b", "a/b/c/d"), "PATH_BELOW_FILE");
  Files files;  // "a-b" sorts between the two.
  AddFile(&files, "a");
  AddFile(&files, "a-b");
  AddFile(&files, "a/b");
  EXPECT_EQ(Reason(ValidateFiles(files)), "PATH_BELOW_FILE");
}

TEST(FileSet, RefusesAnEntryBelowALink) {
  Files files;
  AddLink(&files, "link", "folder");
  AddFile(&files, "link-2");
  AddFile(&files, "link/x");
  EXPECT_EQ(Reason(ValidateFiles(files)), "PATH_BELOW_LINK");
}

TEST(FileSet, AcceptsLinksWithinThePayload) {
  EXPECT_EQ(ReasonOfLink("a/b/l", "../c"), "");
  EXPECT_EQ(ReasonOfLink("a/b/l", "../../c/./d"), "");
  EXPECT_EQ(ReasonOfLink("l", "not/there/yet"), "");
  EXPECT_EQ(ReasonOfLink("a/l", ".."), "");
}

TEST(FileSet, RefusesLinksOutOfThePayload) {
  for (const char* target : {"/", "/etc/passwd", "../x", "a/../../x", "./../x", "..", "a/../x"}) {
    EXPECT_EQ(ReasonOfLink("l", target), "LINK_ESCAPES") << target;
  }
  EXPECT_EQ(ReasonOfLink("a/b/l", "../../../x"), "LINK_ESCAPES");
  // "a/b/up" leads to the root, so that ".." behind it would leave.
  Files files;
  AddLink(&files, "a/b/up", "../..");
  AddLink(&files, "escape", "a/b/up/../etc/passwd");
  EXPECT_EQ(Reason(ValidateFiles(files)), "LINK_ESCAPES");
  EXPECT_EQ(ReasonOfLink("l", ""), "LINK_MALFORMED");
  EXPECT_EQ(ReasonOfLink("l", "a//b"), "LINK_MALFORMED");
  EXPECT_EQ(ReasonOfLink("l", std::string("a\0b", 3)), "PATH_MALFORMED");
  EXPECT_EQ(ReasonOfLink("l", std::string(1025, 'x')), "PATH_TOO_LONG");
}

TEST(FileSet, RefusesTypesOtherThanFileAndLink) {
  Files files;
  AddFile(&files, "a")->set_type(FileEntry::TYPE_UNSPECIFIED);
  EXPECT_EQ(Reason(ValidateFiles(files)), "FILE_TYPE");
  files.Mutable(0)->set_type(static_cast<FileEntry::Type>(3));
  EXPECT_EQ(Reason(ValidateFiles(files)), "FILE_TYPE");
  files.Mutable(0)->set_type(FileEntry::TYPE_SYMLINK);
  files.Mutable(0)->set_link_target("b");
  EXPECT_EQ(Reason(ValidateFiles(files)), "FILE_TYPE");  // A link with content.
  files.Clear();
  AddFile(&files, "a")->set_link_target("b");
  EXPECT_EQ(Reason(ValidateFiles(files)), "FILE_TYPE");
}

TEST(FileSet, RefusesModesBeyondPermissions) {
  for (const uint32_t mode : {01000u, 02755u, 04755u, 0100644u, 0xffffffffu}) {
    Files files;
    AddFile(&files, "a")->set_mode(mode);
    EXPECT_EQ(Reason(ValidateFiles(files)), "FILE_MODE") << mode;
  }
}

TEST(FileSet, RefusesSizesThatDoNotAddUp) {
  const auto reason = [](int64_t size, int chunks) {
    Files files;
    FileEntry* entry = AddFile(&files, "a");
    entry->set_size(size);
    entry->clear_chunks();
    for (int i = 0; i < chunks; ++i) entry->add_chunks(std::string(32, 'd'));
    return Reason(ValidateFiles(files));
  };
  EXPECT_EQ(reason(kChunkBytes, 1), "");
  EXPECT_EQ(reason(kMaxPayloadBytes, 4096), "");
  EXPECT_EQ(reason(0, 1), "CHUNK_COUNT");
  EXPECT_EQ(reason(1, 0), "CHUNK_COUNT");
  EXPECT_EQ(reason(kChunkBytes + 1, 1), "CHUNK_COUNT");
  EXPECT_EQ(reason(1, 2), "CHUNK_COUNT");
  EXPECT_EQ(reason(-1, 0), "FILE_SIZE");
  EXPECT_EQ(reason(std::numeric_limits<int64_t>::min(), 0), "FILE_SIZE");
  EXPECT_EQ(reason(std::numeric_limits<int64_t>::max(), 1), "PAYLOAD_TOO_LARGE");
  EXPECT_EQ(reason(kMaxPayloadBytes + 1, 4097), "PAYLOAD_TOO_LARGE");
}

TEST(FileSet, RefusesDigestsOfTheWrongLength) {
  Files files;
  AddFile(&files, "a")->set_sha256("short");
  EXPECT_EQ(Reason(ValidateFiles(files)), "FILE_DIGEST");
  files.Clear();
  AddFile(&files, "a")->set_chunks(0, std::string(33, 'x'));
  EXPECT_EQ(Reason(ValidateFiles(files)), "CHUNK_COUNT");
}

TEST(FileSet, RefusesTotalsOverTheLimits) {
  Files files;
  EXPECT_EQ(Reason(ValidateFiles(files)), "PAYLOAD_EMPTY");
  for (const char* path : {"a", "b"}) {
    FileEntry* entry = AddFile(&files, path);
    entry->set_size(kMaxPayloadBytes / 2 + 1);
    entry->clear_chunks();
    for (int i = 0; i < 2049; ++i) entry->add_chunks(std::string(32, 'd'));
  }
  EXPECT_EQ(Reason(ValidateFiles(files)), "PAYLOAD_TOO_LARGE");
  files.Clear();
  for (int i = 0; i < kMaxFiles; ++i) AddFile(&files, std::to_string(100000 + i), "");
  EXPECT_EQ(Reason(ValidateFiles(files)), "");
  AddFile(&files, "z", "");
  EXPECT_EQ(Reason(ValidateFiles(files)), "TOO_MANY_FILES");
}

// The example of docs/protocol/manifest.md, computed there with Python.
TEST(FileSet, DigestIsTheSpecifiedOne) {
  Files files;
  AddFile(&files, "conf.d/site.conf", "listen 80;\n");
  AddLink(&files, "default", "conf.d/site.conf");
  EXPECT_EQ(HexEncode(DigestFiles(files)), "da42e6e041d4b0d885e3260d28c3b8b32ada73a1bd6a0ff14039bab1c43bb4d7");
  EXPECT_EQ(TotalBytes(files), 11);
}

TEST(FileSet, DigestTellsEveryDifference) {
  Files files;
  AddFile(&files, "a", "x");
  AddLink(&files, "b", "a");
  const std::string digest = DigestFiles(files);
  const auto digest_with = [&files](auto change) {
    Files changed = files;
    change(&changed);
    return DigestFiles(changed);
  };
  EXPECT_NE(digest, digest_with([](Files* f) { f->Mutable(0)->set_path("c"); }));
  EXPECT_NE(digest, digest_with([](Files* f) { f->Mutable(0)->set_mode(0600); }));
  EXPECT_NE(digest, digest_with([](Files* f) { f->Mutable(0)->set_size(2); }));
  EXPECT_NE(digest, digest_with([](Files* f) { f->Mutable(0)->set_sha256(std::string(32, 'y')); }));
  EXPECT_NE(digest, digest_with([](Files* f) { f->Mutable(1)->set_link_target("b"); }));
  EXPECT_NE(digest, digest_with([](Files* f) { f->RemoveLast(); }));
  // The same letters divided in another way.
  EXPECT_NE(digest, digest_with([](Files* f) {
              f->Mutable(1)->set_path("ba");
              f->Mutable(1)->set_link_target("");
            }));
}

}  // namespace
}  // namespace parley::payload
