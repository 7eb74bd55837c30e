#include "lib/transport/tls_session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace parley::transport {
namespace {

// BoringSSL reads a record's header, then its body: from memory, both are cheap.
struct MemoryBio {
  static int Read(BIO* bio, char* to, int size);
  static int Write(BIO* bio, const char* from, int size);
  static long Control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
};

const BIO_METHOD* Method() {
  static const BIO_METHOD* const kMethod = [] {
    BIO_METHOD* method = BIO_meth_new(0, nullptr);
    BIO_meth_set_read(method, &MemoryBio::Read);
    BIO_meth_set_write(method, &MemoryBio::Write);
    BIO_meth_set_ctrl(method, &MemoryBio::Control);
    return method;
  }();
  return kMethod;
}

// What a session lends its BIO for the duration of a call.
struct Memory {
  absl::string_view* input;
  std::string* output;
};

int MemoryBio::Read(BIO* bio, char* to, int size) {
  BIO_clear_retry_flags(bio);
  auto* memory = static_cast<Memory*>(BIO_get_data(bio));
  if (memory == nullptr || memory->input->empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t count = std::min(memory->input->size(), static_cast<size_t>(size));
  memcpy(to, memory->input->data(), count);
  memory->input->remove_prefix(count);
  return static_cast<int>(count);
}

int MemoryBio::Write(BIO* bio, const char* from, int size) {
  auto* memory = static_cast<Memory*>(BIO_get_data(bio));
  if (memory == nullptr) return -1;
  memory->output->append(from, size);
  return size;
}

TlsSession::Failure Classify(uint32_t error, bool client) {
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return TlsSession::Failure::kMalformed;
  switch (ERR_GET_REASON(error)) {
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return client ? TlsSession::Failure::kKeyRefused : TlsSession::Failure::kMalformed;
    case SSL_R_BAD_SIGNATURE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_DIGEST_CHECK_FAILED:
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return TlsSession::Failure::kRefused;
    case SSL_R_SSLV3_ALERT_BAD_RECORD_MAC:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
    case SSL_R_TLSV1_ALERT_UNKNOWN_PSK_IDENTITY:
      return TlsSession::Failure::kKeyRefused;
    default:
      return TlsSession::Failure::kMalformed;
  }
}

}  // namespace

// Lends a call's input and output to the BIO, and takes them back whatever the way out.
class TlsCall {
 public:
  TlsCall(SSL* ssl, absl::string_view* input, std::string* output) : ssl_(ssl), memory_{input, output} {
    ERR_clear_error();
    BIO_set_data(SSL_get_rbio(ssl), &memory_);
  }
  ~TlsCall() { BIO_set_data(SSL_get_rbio(ssl_), nullptr); }

 private:
  SSL* const ssl_;
  Memory memory_;
};

TlsSession::TlsSession(SSL_CTX* context) : ssl_(SSL_new(context)) {
  BIO* bio = BIO_new(Method());
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_app_data(ssl_, this);
  SSL_set_shed_handshake_config(ssl_, 1);
}

TlsSession::~TlsSession() { SSL_free(ssl_); }

std::unique_ptr<TlsSession> TlsSession::Accept(SSL_CTX* context, const PeerCheck* check) {
  std::unique_ptr<TlsSession> session(new TlsSession(context));
  session->check_ = check;
  SSL_set_accept_state(session->ssl_);
  return session;
}

std::unique_ptr<TlsSession> TlsSession::Connect(SSL_CTX* context, const ClientKey* key) {
  std::unique_ptr<TlsSession> session(new TlsSession(context));
  session->key_ = key;
  if (!key->server_name.empty()) SSL_set_tlsext_host_name(session->ssl_, key->server_name.c_str());
  session->unasked_ = SSL_get_privatekey(session->ssl_) != nullptr;
  const auto asked = [](SSL*, void* self) {
    static_cast<TlsSession*>(self)->unasked_ = false;
    return 1;
  };
  SSL_set_cert_cb(session->ssl_, asked, session.get());
  SSL_set_connect_state(session->ssl_);
  return session;
}

TlsSession::Step TlsSession::StepOf(int result) {
  if (result > 0) return Step::kDone;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return Step::kMore;
    case SSL_ERROR_ZERO_RETURN:
      return Step::kClosed;
    default:
      break;
  }
  // The newest: below it may lie the cipher's own, which does not say where it happened.
  const uint32_t error = ERR_peek_last_error();
  const bool client = check_ == nullptr;
  failure_ = Classify(error, client);
  const char* reason = ERR_reason_error_string(error);
  failure_text_ = reason != nullptr ? reason : "closed";
  if (client && failure_ == Failure::kRefused) failure_text_ = VerifyErrorOf(ssl_);
  ERR_clear_error();
  return Step::kFailed;
}

TlsSession::Step TlsSession::Handshake(absl::string_view input, std::string* output) {
  TlsCall call(ssl_, &input, output);
  const Step step = StepOf(SSL_do_handshake(ssl_));
  if (step != Step::kDone) return step == Step::kClosed ? Step::kFailed : step;
  // A handshake that BoringSSL accepts under a random key, or without a claim, does not exist; if it did, it would
  // end here.
  if (check_ != nullptr && (claim_ == nullptr || !claim_->known)) {
    failure_ = Failure::kRefused;
    return Step::kFailed;
  }
  if (unasked_) {
    failure_ = Failure::kNotAsked;
    return Step::kFailed;
  }
  early_.assign(input.data(), input.size());
  return Step::kDone;
}

TlsSession::Step TlsSession::Decrypt(absl::string_view input, char* plain, size_t capacity, size_t* plain_size,
                                     std::string* output) {
  std::string joined;
  if (!early_.empty()) {
    joined.swap(early_);
    absl::StrAppend(&joined, input);
    input = joined;
  }
  *plain_size = 0;
  TlsCall call(ssl_, &input, output);
  while (*plain_size < capacity) {
    const int count = SSL_read(ssl_, plain + *plain_size, static_cast<int>(capacity - *plain_size));
    if (count <= 0) return StepOf(count);
    *plain_size += count;
    // Whole records have been read: no need to be told so by another call.
    if (input.empty() && !SSL_has_pending(ssl_)) return Step::kMore;
  }
  // Cannot be, by the contract on the capacity.
  failure_ = Failure::kMalformed;
  return Step::kFailed;
}

bool TlsSession::Encrypt(absl::string_view plain, std::string* output) {
  absl::string_view nothing;
  TlsCall call(ssl_, &nothing, output);
  while (!plain.empty()) {
    const int count = SSL_write(ssl_, plain.data(), static_cast<int>(plain.size()));
    if (count <= 0) {
      ERR_clear_error();
      return false;
    }
    plain.remove_prefix(count);
  }
  return true;
}

void TlsSession::Close(std::string* output) {
  absl::string_view nothing;
  TlsCall call(ssl_, &nothing, output);
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

std::string TlsSession::alpn() const {
  const uint8_t* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_, &name, &size);
  return std::string(reinterpret_cast<const char*>(name), size);
}

std::string TlsSession::protocol() const {
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl_);
  if (cipher == nullptr) return "";
  const bool psk = SSL_version(ssl_) == TLS1_2_VERSION;
  return psk ? absl::StrCat("TLS 1.2 ", SSL_CIPHER_get_name(cipher))
             : absl::StrCat("TLS 1.3 ", SSL_CIPHER_standard_name(cipher));
}

}  // namespace parley::transport
