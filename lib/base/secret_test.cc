#include "lib/base/secret.h"

#include <stdlib.h>

#include <new>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include "gtest/gtest.h"

namespace {

// Watches one array until it is freed, to see what was left in it.
const void* watched = nullptr;
size_t watched_size = 0;
bool freed_with_content = false;
bool freed = false;

}  // namespace

void* operator new[](size_t size) {
  void* const memory = malloc(size > 0 ? size : 1);
  if (memory == nullptr) abort();
  return memory;
}

void operator delete[](void* memory) noexcept {
  if (memory != nullptr && memory == watched) {
    freed = true;
    const volatile char* const bytes = static_cast<const volatile char*>(memory);
    for (size_t i = 0; i < watched_size; ++i) freed_with_content = freed_with_content || bytes[i] != 0;
    watched = nullptr;
  }
  free(memory);
}

void operator delete[](void* memory, size_t) noexcept { operator delete[](memory); }

namespace parley {
namespace {

template <typename T, typename = void>
struct IsStreamable : std::false_type {};
template <typename T>
struct IsStreamable<T, std::void_t<decltype(std::declval<std::ostream&>() << std::declval<const T&>())>>
    : std::true_type {};

static_assert(IsStreamable<std::string>::value);
static_assert(!IsStreamable<Secret>::value, "a log line must not be able to hold a secret");
static_assert(!std::is_convertible_v<Secret, std::string>);
static_assert(!std::is_convertible_v<Secret, absl::string_view>);
static_assert(!std::is_constructible_v<std::string, Secret>);
static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);
static_assert(std::is_nothrow_move_constructible_v<Secret> && std::is_nothrow_move_assignable_v<Secret>);

void Watch(const Secret& secret) {
  watched = secret.Expose().data();
  watched_size = secret.size();
  freed = freed_with_content = false;
}

TEST(Secret, IsWipedBeforeItIsFreed) {
  {
    const Secret secret = Secret::CopyOf("correct horse battery staple");
    Watch(secret);
  }
  EXPECT_TRUE(freed);
  EXPECT_FALSE(freed_with_content);
}

TEST(Secret, IsWipedBeforeItIsReplaced) {
  Secret secret = Secret::CopyOf("correct horse battery staple");
  Watch(secret);
  secret = Secret::CopyOf("another");
  EXPECT_TRUE(freed);
  EXPECT_FALSE(freed_with_content);
  EXPECT_EQ(secret.Expose(), "another");
}

TEST(Secret, LeavesNothingBehindWhenMoved) {
  Secret from = Secret::CopyOf("bytes");
  const Secret to = std::move(from);
  EXPECT_EQ(to.Expose(), "bytes");
  EXPECT_TRUE(from.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(from.Expose(), "");
  Secret same = Secret::CopyOf("same");
  Secret& alias = same;
  same = std::move(alias);
  EXPECT_EQ(same.Expose(), "same");
}

TEST(Secret, TakesAStringAndWipesIt) {
  std::string text = "a password that does not fit into the string object itself";
  const char* const before = text.data();
  const size_t size = text.size();
  const Secret secret = Secret::Take(std::move(text));
  EXPECT_EQ(secret.size(), size);
  EXPECT_TRUE(text.empty());  // NOLINT(bugprone-use-after-move)
  // The string keeps its memory, so it may be looked at.
  ASSERT_EQ(text.data(), before);
  ASSERT_GE(text.capacity(), size);
  for (size_t i = 0; i < size; ++i) EXPECT_EQ(before[i], '\0') << i;
}

TEST(Secret, EqualsByContent) {
  EXPECT_TRUE(Secret() == Secret::CopyOf(""));
  EXPECT_TRUE(Secret::CopyOf("abc") == Secret::CopyOf("abc"));
  EXPECT_FALSE(Secret::CopyOf("abc") == Secret::CopyOf("abd"));
  EXPECT_FALSE(Secret::CopyOf("abc") == Secret::CopyOf("Abc"));
  EXPECT_FALSE(Secret::CopyOf("abc") == Secret::CopyOf("ab"));
  EXPECT_TRUE(Secret(3) == Secret::CopyOf(std::string(3, '\0')));
}

TEST(Secret, ClonesByName) {
  const Secret secret = Secret::CopyOf(std::string("a\0b", 3));
  const Secret clone = secret.Clone();
  EXPECT_TRUE(clone == secret);
  EXPECT_NE(clone.Expose().data(), secret.Expose().data());
}

}  // namespace
}  // namespace parley
