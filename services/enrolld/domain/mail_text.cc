#include "services/enrolld/domain/mail_text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "lib/base/proto_time.h"

namespace parley::enrolld {
namespace {

// In no part: both are of ASCII text with lines that do not begin so.
constexpr absl::string_view kBoundary = "=_parley_invitation";

// What was validated long ago passes here once more: a line that is not one line is how headers are forged.
std::string OneLine(absl::string_view text) {
  std::string line;
  std::copy_if(text.begin(), text.end(), std::back_inserter(line), absl::ascii_isprint);
  return line;
}

std::string Html(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

absl::string_view DomainOf(absl::string_view email) { return email.substr(email.find('@') + 1); }

}  // namespace

Secret WriteMail(const MailText& text, const Secret& link) {
  const std::string organisation = OneLine(text.organisation);
  const std::string creator = OneLine(text.creator);
  const std::string until = ShowTime(text.expire_time);
  const std::string subject = text.device ? absl::StrCat("Your further device at ", organisation)
                                          : absl::StrCat(creator, " invites you to ", organisation);
  const std::string what =
      text.device ? absl::StrCat("You asked for a further device of ", OneLine(text.user_name))
                  : absl::StrCat(creator, " invites you to ", organisation, " as ", OneLine(text.user_name));
  const std::string header =
      absl::StrCat("Date: ", absl::FormatTime("%a, %d %b %Y %H:%M:%S +0000", text.time, absl::UTCTimeZone()), "\r\n",
                   "From: Parley <", OneLine(text.from), ">\r\n", "To: <", OneLine(text.to), ">\r\n", "Message-ID: <",
                   OneLine(text.message_id), "@", DomainOf(OneLine(text.from)), ">\r\n", "Subject: ", subject, "\r\n",
                   "Auto-Submitted: auto-generated\r\n", "MIME-Version: 1.0\r\n",
                   "Content-Type: multipart/alternative; boundary=\"", kBoundary, "\"\r\n\r\n");
  const std::string part = absl::StrCat("--", kBoundary, "\r\nContent-Transfer-Encoding: 7bit\r\nContent-Type: ");
  const std::string spoken =
      "You will compare two codes of four letters with the person who invited you, by phone or side by side.";
  return Secret::Take(absl::StrCat(
      header, part, "text/plain; charset=us-ascii\r\n\r\n", what, ".\r\n\r\nAgree on a time, run\r\n\r\n",
      "  parley claim\r\n\r\nthen, and paste this link:\r\n\r\n", link.Expose(), "\r\n\r\n", spoken,
      "\r\nThe link is good until ", until, ". If you expected none, ignore it.\r\n", part,
      "text/html; charset=us-ascii\r\n\r\n<!DOCTYPE html>\r\n<html><body>\r\n<p>", Html(what),
      ".</p>\r\n<p>Agree on a time, run <code>parley claim</code> then, and paste this link:</p>\r\n<p><code>",
      Html(link.Expose()), "</code></p>\r\n<p>", spoken, "</p>\r\n<p>The link is good until ", until,
      ". If you expected none, ignore it.</p>\r\n</body></html>\r\n--", kBoundary, "--\r\n"));
}

}  // namespace parley::enrolld
