#include "lib/backup/sealed_stream.h"

#include <unistd.h>

#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/kdf.h"

namespace parley::backup {
namespace {

// A file that has a name only while it is opened.
class Scratch {
 public:
  Scratch() {
    std::string path = testing::TempDir() + "/sealed.XXXXXX";
    fd_ = mkstemp(path.data());
    EXPECT_GE(fd_, 0);
    unlink(path.c_str());
  }
  ~Scratch() { close(fd_); }
  // At its beginning.
  int fd() const {
    EXPECT_EQ(lseek(fd_, 0, SEEK_SET), 0);
    return fd_;
  }

 private:
  int fd_;
};

class SealedStream : public testing::Test {
 protected:
  std::string Seal(absl::string_view content, size_t step = kPieceBytes) {
    Scratch file;
    SealedWriter writer(key_, file.fd(), "scratch");
    for (size_t at = 0; at < content.size(); at += step) EXPECT_TRUE(writer.Write(content.substr(at, step)).ok());
    EXPECT_TRUE(writer.Finish().ok());
    const off_t size = lseek(file.fd(), 0, SEEK_END);
    std::string sealed(static_cast<size_t>(size), '\0');
    EXPECT_EQ(pread(file.fd(), sealed.data(), sealed.size(), 0), size);
    return sealed;
  }

  // What a reader is given; `end` says whether it came to the end.
  std::string Open(const std::string& sealed, absl::Status* end) {
    Scratch file;
    EXPECT_TRUE(WriteAll(file.fd(), "scratch", sealed).ok());
    SealedReader reader(key_, file.fd(), "scratch");
    std::string content;
    while (true) {
      const absl::StatusOr<Secret> piece = reader.Read();
      *end = piece.status();
      if (!piece.ok()) EXPECT_EQ(Reason(reader.Read().status()), "BACKUP_DAMAGED");
      if (!piece.ok() || piece->empty()) return content;
      content += std::string(piece->Expose());
    }
  }

  void ExpectRefused(const std::string& sealed, absl::string_view content, absl::string_view what) {
    absl::Status end;
    const std::string got = Open(sealed, &end);
    EXPECT_EQ(Reason(end), "BACKUP_DAMAGED") << what;
    EXPECT_EQ(got, content.substr(0, got.size())) << what;
  }

  const Secret key_ = crypto::RandomSecret(32);
};

TEST_F(SealedStream, ComesBackAtEveryLength) {
  for (const size_t size : {size_t{0}, size_t{1}, kPieceBytes - 1, kPieceBytes, kPieceBytes + 1, 3 * kPieceBytes}) {
    const std::string content = crypto::RandomBytes(size);
    for (const size_t step : {size_t{1000}, kPieceBytes, size_t{1} << 30}) {
      absl::Status end;
      EXPECT_EQ(Open(Seal(content, step), &end), content) << size;
      EXPECT_TRUE(end.ok()) << size << " " << end;
    }
  }
}

TEST_F(SealedStream, EveryBitCounts) {
  const std::string content = "who may do what, and with which key";
  const std::string sealed = Seal(content);
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    std::string changed = sealed;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ 1 << bit % 8);
    ExpectRefused(changed, "", "bit");
  }
}

TEST_F(SealedStream, EveryCutIsFound) {
  const std::string sealed = Seal("who may do what");
  for (size_t size = 0; size < sealed.size(); ++size) ExpectRefused(sealed.substr(0, size), "", "cut");
}

TEST_F(SealedStream, PiecesStayWhereTheyWere) {
  const std::string content = crypto::RandomBytes(3 * kPieceBytes + 100);
  const std::string sealed = Seal(content);
  constexpr size_t kSealed = kPieceBytes + 20;
  const std::string first = sealed.substr(0, kSealed), second = sealed.substr(kSealed, kSealed),
                    third = sealed.substr(2 * kSealed, kSealed), last = sealed.substr(3 * kSealed);
  ASSERT_EQ(last.size(), size_t{120});
  ExpectRefused(first + second, content, "cut between pieces");
  ExpectRefused(first + third + second + last, content, "two exchanged");
  ExpectRefused(first + third + last, content, "one left out");
  ExpectRefused(first + first + second + third + last, content, "one repeated");
  ExpectRefused(first + second + third + last + last, content, "the end repeated");
  ExpectRefused(sealed + 'x', content, "a byte behind the end");
  ExpectRefused(last, content, "the end alone");
  // A piece in the middle that claims to be the last.
  std::string claims = first + second;
  claims[kSealed] = static_cast<char>(claims[kSealed] | 0x80);
  ExpectRefused(claims, content, "a false end");
}

TEST_F(SealedStream, PiecesOfAnotherStreamAreRefused) {
  const std::string content = crypto::RandomBytes(2 * kPieceBytes);
  const std::string sealed = Seal(content);
  const Secret other_key = crypto::RandomSecret(32);
  Scratch file;
  SealedWriter writer(other_key, file.fd(), "scratch");
  ASSERT_TRUE(writer.Write(content).ok());
  ASSERT_TRUE(writer.Finish().ok());
  std::string other(sealed.size(), '\0');
  ASSERT_EQ(pread(file.fd(), other.data(), other.size(), 0), static_cast<ssize_t>(other.size()));
  ExpectRefused(other, "", "another key");
  ExpectRefused(sealed.substr(0, kPieceBytes + 20) + other.substr(kPieceBytes + 20), content, "mixed");
}

}  // namespace
}  // namespace parley::backup
