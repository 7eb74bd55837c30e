// enrolld_mail: hands one e-mail to a mail server and ends. enrolld starts it for each mail.
//
// A program of its own, because what Debian's libcurl brings (libssh2) links OpenSSL, whose names are BoringSSL's too;
// and what reads a mail server's answers then holds no keys.
#include <curl/curl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"
#include "services/enrolld/mail/mail_job.pb.h"

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

MailOutcome Send(const MailJob& job) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> easy(curl_easy_init(), &curl_easy_cleanup);
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> recipients(
      curl_slist_append(nullptr, absl::StrCat("<", job.to(), ">").c_str()), &curl_slist_free_all);
  MailOutcome outcome;
  outcome.set_result(MailOutcome::RESULT_UNAVAILABLE);
  if (easy == nullptr || recipients == nullptr) return outcome;
  CURL* const curl = easy.get();
  char why[CURL_ERROR_SIZE] = {};
  Upload upload = {job.message()};
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
  curl_easy_setopt(curl, CURLOPT_URL, job.url().c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  // Nothing but the greeting and STARTTLS is said before the server has shown a certificate for its name.
  curl_easy_setopt(curl, CURLOPT_USE_SSL, static_cast<long>(job.tls_required() ? CURLUSESSL_ALL : CURLUSESSL_NONE));
  if (!job.ca_file().empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, job.ca_file().c_str());
  if (!job.user().empty()) {
    curl_easy_setopt(curl, CURLOPT_USERNAME, job.user().c_str());
    curl_easy_setopt(curl, CURLOPT_PASSWORD, job.password().c_str());
  }
  curl_easy_setopt(curl, CURLOPT_MAIL_FROM, absl::StrCat("<", job.from(), ">").c_str());
  curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients.get());
  curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(curl, CURLOPT_READFUNCTION, &Read);
  curl_easy_setopt(curl, CURLOPT_READDATA, &upload);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, kTotalSeconds);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  const CURLcode result = curl_easy_perform(curl);
  long code = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
  if (result == CURLE_OK) {
    outcome.set_result(MailOutcome::RESULT_TAKEN);
  } else {
    if (IsPermanent(code)) outcome.set_result(MailOutcome::RESULT_REFUSED);
    outcome.set_sentence(Printable(why[0] != '\0' ? why : curl_easy_strerror(result)));
  }
  return outcome;
}

int Main() {
  std::string input((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
  MailJob job;
  const bool read = job.ParseFromString(input);
  WipeString(&input);
  if (!read || job.url().empty()) {
    std::cerr << "enrolld_mail is started by enrolld, for each e-mail\n";
    return 2;
  }
  curl_global_init(CURL_GLOBAL_ALL);
  const MailOutcome outcome = Send(job);
  WipeString(job.mutable_password());
  WipeString(job.mutable_message());
  std::cout << outcome.SerializeAsString() << std::flush;
  return 0;
}

}  // namespace
}  // namespace parley::enrolld

int main() { return parley::enrolld::Main(); }
