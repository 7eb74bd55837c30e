#include "services/enrolld/service/smtp_mailer.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "services/enrolld/domain/validation.h"

namespace parley::enrolld {
namespace {

constexpr long kConnectSeconds = 15;
constexpr long kTotalSeconds = 60;

struct Upload {
  absl::string_view left;
};

size_t Read(char* buffer, size_t size, size_t count, void* context) {
  auto* const upload = static_cast<Upload*>(context);
  const size_t bytes = std::min(size * count, upload->left.size());
  std::memcpy(buffer, upload->left.data(), bytes);
  upload->left.remove_prefix(bytes);
  return bytes;
}

// What a server says goes into logs and onto terminals.
std::string Printable(absl::string_view text) {
  std::string line;
  std::copy_if(text.begin(), text.begin() + std::min<size_t>(text.size(), 200), std::back_inserter(line),
               absl::ascii_isprint);
  return line;
}

// Refused for good: a 5xx, unless it is about the login, which an operator can set right.
bool IsPermanent(long code) { return code >= 500 && code < 600 && (code < 530 || code > 538); }

using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using List = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

}  // namespace

absl::StatusOr<std::unique_ptr<SmtpMailer>> SmtpMailer::Create(Options options) {
  const bool implicit = absl::StartsWith(options.url, "smtps://");
  if (!implicit && !absl::StartsWith(options.url, "smtp://")) {
    return Error(absl::StatusCode::kInvalidArgument, "SMTP_URL",
                 "--smtp-url must be like smtp://mail.example:587 or smtps://mail.example:465");
  }
  RETURN_IF_ERROR(Annotate(ValidateEmail(options.from), "--smtp-from"));
  if (!options.user.empty() && !implicit && options.tls == Tls::kOff) {
    return Error(absl::StatusCode::kInvalidArgument, "SMTP_PASSWORD_IN_CLEAR",
                 "a login without TLS would show the password; leave out --smtp-tls off, or --smtp-user");
  }
  curl_global_init(CURL_GLOBAL_ALL);
  return std::unique_ptr<SmtpMailer>(new SmtpMailer(std::move(options)));
}

absl::Status SmtpMailer::Send(const std::string& to, const Secret& message) {
  const Easy easy(curl_easy_init(), &curl_easy_cleanup);
  const std::string from = absl::StrCat("<", options_.from, ">");
  const List recipients(curl_slist_append(nullptr, absl::StrCat("<", to, ">").c_str()), &curl_slist_free_all);
  if (easy == nullptr || recipients == nullptr) return absl::ResourceExhaustedError("out of memory");
  CURL* const curl = easy.get();
  char why[CURL_ERROR_SIZE] = {};
  Upload upload = {message.Expose()};
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
  curl_easy_setopt(curl, CURLOPT_URL, options_.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_USE_SSL,
                   static_cast<long>(options_.tls == Tls::kRequired ? CURLUSESSL_ALL : CURLUSESSL_NONE));
  if (!options_.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, options_.ca_file.c_str());
  const Secret password = Secret::Take(absl::StrCat(options_.password.Expose(), std::string(1, '\0')));
  if (!options_.user.empty()) {
    curl_easy_setopt(curl, CURLOPT_USERNAME, options_.user.c_str());
    curl_easy_setopt(curl, CURLOPT_PASSWORD, password.Expose().data());
  }
  curl_easy_setopt(curl, CURLOPT_MAIL_FROM, from.c_str());
  curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients.get());
  curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(curl, CURLOPT_READFUNCTION, &Read);
  curl_easy_setopt(curl, CURLOPT_READDATA, &upload);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, kTotalSeconds);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  const CURLcode result = curl_easy_perform(curl);
  if (result == CURLE_OK) return absl::OkStatus();
  long code = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
  const std::string text = Printable(why[0] != '\0' ? why : curl_easy_strerror(result));
  if (IsPermanent(code)) {
    return Error(absl::StatusCode::kFailedPrecondition, "MAIL_REFUSED",
                 absl::StrCat("the mail server refused it: ", text, "; check the address, or carry the link yourself"));
  }
  return Error(absl::StatusCode::kUnavailable, "MAIL_SERVER_UNAVAILABLE",
               absl::StrCat("the mail server did not take it: ", text, "; it is tried again"));
}

}  // namespace parley::enrolld
