#include "lib/crypto/certificate.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/crypto/boringssl.h"
#include "lib/crypto/kdf.h"

namespace parley::crypto {

namespace {

constexpr absl::string_view kUriPrefix = "parley:";
// A peer's clock may be this far behind ours.
constexpr absl::Duration kClockSkew = absl::Hours(1);

absl::Status Invalid(absl::string_view sentence) {
  ERR_clear_error();
  return InvalidArgument("CERTIFICATE", sentence);
}

bool IsP256(const EVP_PKEY* key) {
  if (EVP_PKEY_id(key) != EVP_PKEY_EC) return false;
  return EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key))) == NID_X9_62_prime256v1;
}

auto Owned(EVP_PKEY* key) { return std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>(key, &EVP_PKEY_free); }

auto Wrap(bssl::UniquePtr<EC_KEY> ec) {
  auto key = Owned(EVP_PKEY_new());
  Require(ec != nullptr && key != nullptr && EVP_PKEY_set1_EC_KEY(key.get(), ec.get()) == 1, "no P-256 key");
  return key;
}

bssl::UniquePtr<EC_GROUP> P256() { return bssl::UniquePtr<EC_GROUP>(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)); }

std::string PublicKeyDer(EVP_PKEY* key) {
  uint8_t* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  Require(size > 0, "a public key has no encoding");
  std::string text(reinterpret_cast<const char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return text;
}

absl::string_view Content(const bssl::UniquePtr<BIO>& bio) {
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  Require(BIO_mem_contents(bio.get(), &bytes, &size) == 1, "a memory BIO has no content");
  return absl::string_view(reinterpret_cast<const char*>(bytes), size);
}

bssl::UniquePtr<X509> ParseDer(absl::string_view der) {
  const uint8_t* bytes = Bytes(der);
  bssl::UniquePtr<X509> certificate(d2i_X509(nullptr, &bytes, static_cast<long>(der.size())));
  if (certificate != nullptr && bytes != Bytes(der) + der.size()) certificate.reset();
  ERR_clear_error();
  return certificate;
}

bssl::UniquePtr<X509> ParsePem(absl::string_view pem) {
  const bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  char no_password[] = "";
  bssl::UniquePtr<X509> certificate(bio == nullptr ? nullptr
                                                   : PEM_read_bio_X509(bio.get(), nullptr, nullptr, no_password));
  ERR_clear_error();
  return certificate;
}

struct Extension {
  int nid;
  const char* value;
};

// A certificate under construction.
class Builder {
 public:
  // Nothing shows in a serial number: 16 random bytes (RFC 5280 wants it positive and below 2^159).
  Builder(EVP_PKEY* public_key, absl::Time not_before, absl::Time not_after) : certificate_(X509_new()) {
    std::string serial = RandomBytes(16);
    serial[0] = static_cast<char>((serial[0] & 0x7F) | 0x40);
    bssl::UniquePtr<BIGNUM> number(BN_bin2bn(Bytes(serial), serial.size(), nullptr));
    Require(X509_set_version(certificate_.get(), X509_VERSION_3) == 1 &&
                BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate_.get())) != nullptr &&
                X509_set_pubkey(certificate_.get(), public_key) == 1,
            "cannot make a certificate");
    good_ = not_before < not_after &&
            ASN1_TIME_set(X509_getm_notBefore(certificate_.get()), absl::ToTimeT(not_before)) != nullptr &&
            ASN1_TIME_set(X509_getm_notAfter(certificate_.get()), absl::ToTimeT(not_after)) != nullptr;
  }

  bool dates_are_good() const { return good_; }
  X509* get() const { return certificate_.get(); }

  bool SetName(X509_NAME* name, absl::string_view common_name) {
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, Bytes(common_name),
                                      static_cast<int>(common_name.size()), -1, 0) == 1;
  }

  // Values are constants of this file: a peer's text never goes through X509V3_EXT_nconf_nid's little language.
  void Add(X509* issuer, std::initializer_list<Extension> extensions) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate_.get(), nullptr, nullptr, 0);
    for (const auto& [nid, value] : extensions) {
      bssl::UniquePtr<X509_EXTENSION> extension(X509V3_EXT_nconf_nid(nullptr, &context, nid, value));
      Require(extension != nullptr && X509_add_ext(certificate_.get(), extension.get(), -1) == 1, "bad extension");
    }
  }

  bool AddAlternativeName(GENERAL_NAMES* names) {
    return X509_add1_ext_i2d(certificate_.get(), NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
  }

  std::string SignedPem(EVP_PKEY* issuer_key) {
    bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
    Require(X509_sign(certificate_.get(), issuer_key, EVP_sha256()) > 0 &&
                PEM_write_bio_X509(bio.get(), certificate_.get()) == 1,
            "cannot sign a certificate");
    return std::string(Content(bio));
  }

 private:
  bssl::UniquePtr<X509> certificate_;
  bool good_ = false;
};

// A GENERAL_NAME that holds an IA5String.
bool AppendText(GENERAL_NAMES* names, int type, absl::string_view text) {
  bssl::UniquePtr<ASN1_IA5STRING> value(ASN1_IA5STRING_new());
  bssl::UniquePtr<GENERAL_NAME> name(GENERAL_NAME_new());
  if (ASN1_STRING_set(value.get(), text.data(), static_cast<int>(text.size())) != 1) return false;
  GENERAL_NAME_set0_value(name.get(), type, value.release());
  return bssl::PushToStack(names, std::move(name));
}

bool AppendAddress(GENERAL_NAMES* names, const void* address, int size) {
  bssl::UniquePtr<ASN1_OCTET_STRING> value(ASN1_OCTET_STRING_new());
  bssl::UniquePtr<GENERAL_NAME> name(GENERAL_NAME_new());
  if (ASN1_OCTET_STRING_set(value.get(), static_cast<const uint8_t*>(address), size) != 1) return false;
  GENERAL_NAME_set0_value(name.get(), GEN_IPADD, value.release());
  return bssl::PushToStack(names, std::move(name));
}

// RFC 1123, with "*." allowed in front.
bool IsDnsName(absl::string_view name) {
  if (absl::StartsWith(name, "*.")) name.remove_prefix(2);
  if (name.empty() || name.size() > 253) return false;
  for (const absl::string_view label : absl::StrSplit(name, '.')) {
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    if (!std::all_of(label.begin(), label.end(), [](char c) { return absl::ascii_isalnum(c) || c == '-'; })) {
      return false;
    }
  }
  return true;
}

bool AppendServerName(GENERAL_NAMES* names, const std::string& name) {
  in_addr v4;
  in6_addr v6;
  if (inet_pton(AF_INET, name.c_str(), &v4) == 1) return AppendAddress(names, &v4, sizeof(v4));
  if (inet_pton(AF_INET6, name.c_str(), &v6) == 1) return AppendAddress(names, &v6, sizeof(v6));
  return IsDnsName(name) && AppendText(names, GEN_DNS, name);
}

}  // namespace

EcKey EcKey::Generate() {
  bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  Require(ec != nullptr && EC_KEY_generate_key(ec.get()) == 1, "cannot generate a P-256 key");
  return EcKey(Wrap(std::move(ec)));
}

absl::StatusOr<EcKey> EcKey::Derive(const Secret& secret) {
  if (secret.size() < 16) {
    return InvalidArgument("KEY_LENGTH", "a P-256 key is derived from at least 16 bytes");
  }
  bssl::UniquePtr<EC_KEY> ec(EC_KEY_derive_from_secret(P256().get(), Bytes(secret.Expose()), secret.size()));
  return EcKey(Wrap(std::move(ec)));
}

absl::StatusOr<EcKey> EcKey::FromPem(const Secret& pem) {
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.Expose().data(), static_cast<int>(pem.size())));
  // An empty password instead of a prompt on the terminal.
  char no_password[] = "";
  auto key = Owned(bio == nullptr ? nullptr : PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, no_password));
  if (key == nullptr || !IsP256(key.get())) return Invalid("this is not the PEM of an unencrypted P-256 private key");
  return EcKey(std::move(key));
}

Secret EcKey::ToPem() const {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  Require(PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1,
          "a private key has no encoding");
  return Secret::CopyOf(Content(bio));  // BoringSSL wipes what it frees.
}

std::string EcKey::PublicKey() const { return PublicKeyDer(key_.get()); }

absl::StatusOr<std::string> MakeClientCertificate(const EcKey& key, absl::string_view identity, absl::Time now,
                                                  absl::Time not_after) {
  Builder builder(key.get(), now - kClockSkew, not_after);
  if (!builder.dates_are_good()) return Invalid("a certificate cannot end at this time");
  bssl::UniquePtr<GENERAL_NAMES> names(GENERAL_NAMES_new());
  if (!builder.SetName(X509_get_subject_name(builder.get()), "parley") ||
      !builder.SetName(X509_get_issuer_name(builder.get()), "parley") ||
      !AppendText(names.get(), GEN_URI, absl::StrCat(kUriPrefix, identity)) ||
      !builder.AddAlternativeName(names.get())) {
    return Invalid("a certificate cannot hold this identity");
  }
  builder.Add(builder.get(), {{NID_basic_constraints, "critical,CA:FALSE"},
                              {NID_key_usage, "critical,digitalSignature"},
                              {NID_ext_key_usage, "clientAuth"}});
  return builder.SignedPem(key.get());
}

absl::StatusOr<std::string> IdentityOfClientCertificate(absl::string_view der) {
  const bssl::UniquePtr<X509> certificate = ParseDer(der);
  if (certificate == nullptr) return Invalid("this is not an X.509 certificate");
  // Null also when the extension is there twice.
  bssl::UniquePtr<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  if (names == nullptr || sk_GENERAL_NAME_num(names.get()) != 1) {
    return Invalid("a client certificate has exactly one alternative name");
  }
  const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), 0);
  if (name->type != GEN_URI) return Invalid("the alternative name of a client certificate is a URI");
  const ASN1_STRING* const value = name->d.uniformResourceIdentifier;
  absl::string_view uri(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                        static_cast<size_t>(ASN1_STRING_length(value)));
  if (!absl::StartsWith(uri, kUriPrefix)) return Invalid("the URI of a client certificate starts with parley:");
  uri.remove_prefix(kUriPrefix.size());
  return std::string(uri);
}

absl::StatusOr<std::string> PublicKeyOfCertificate(absl::string_view der) {
  const bssl::UniquePtr<X509> certificate = ParseDer(der);
  bssl::UniquePtr<EVP_PKEY> key(certificate == nullptr ? nullptr : X509_get_pubkey(certificate.get()));
  if (key == nullptr) return Invalid("this is not an X.509 certificate with a known kind of key");
  return PublicKeyDer(key.get());
}

absl::StatusOr<std::string> MakeCaCertificate(const EcKey& key, absl::string_view organisation, absl::Time now,
                                              absl::Time not_after) {
  Builder builder(key.get(), now - kClockSkew, not_after);
  if (!builder.dates_are_good()) return Invalid("a certificate cannot end at this time");
  if (!builder.SetName(X509_get_subject_name(builder.get()), organisation) ||
      !builder.SetName(X509_get_issuer_name(builder.get()), organisation)) {
    return Invalid("the name of an organisation is UTF-8 of 1 to 64 characters");
  }
  builder.Add(builder.get(), {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                              {NID_key_usage, "critical,keyCertSign"},
                              {NID_subject_key_identifier, "hash"}});
  return builder.SignedPem(key.get());
}

absl::StatusOr<std::string> OrganisationOfCa(absl::string_view ca_pem) {
  const bssl::UniquePtr<X509> ca = ParsePem(ca_pem);
  if (ca == nullptr) return Invalid("the CA certificate is malformed");
  X509_NAME* const subject = X509_get_subject_name(ca.get());
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return Invalid("the CA certificate has no name");
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return Invalid("the CA certificate's name is malformed");
  std::string name(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return name;
}

absl::StatusOr<std::string> MakeServerCertificate(const EcKey& ca_key, absl::string_view ca_pem,
                                                  absl::string_view public_key, const std::vector<std::string>& names,
                                                  absl::Time now, absl::Time not_after) {
  const bssl::UniquePtr<X509> ca = ParsePem(ca_pem);
  if (ca == nullptr) return Invalid("the CA is not a PEM certificate");
  if (X509_check_private_key(ca.get(), ca_key.get()) != 1) return Invalid("the CA has another key");
  const uint8_t* bytes = Bytes(public_key);
  bssl::UniquePtr<EVP_PKEY> key(d2i_PUBKEY(nullptr, &bytes, static_cast<long>(public_key.size())));
  if (key == nullptr || bytes != Bytes(public_key) + public_key.size() || !IsP256(key.get())) {
    return Invalid("the server's public key is not the DER of a P-256 key");
  }

  Builder builder(key.get(), now - kClockSkew, not_after);
  if (!builder.dates_are_good()) return Invalid("a certificate cannot end at this time");
  if (names.empty()) return Invalid("a server certificate needs at least one DNS name or IP address");
  bssl::UniquePtr<GENERAL_NAMES> alternative_names(GENERAL_NAMES_new());
  for (const std::string& name : names) {
    if (!AppendServerName(alternative_names.get(), name)) {
      return Invalid(absl::StrCat("not a DNS name or IP address: \"", absl::CHexEscape(name), "\""));
    }
  }
  if (!builder.SetName(X509_get_subject_name(builder.get()), "parley server") ||
      X509_set_issuer_name(builder.get(), X509_get_subject_name(ca.get())) != 1 ||
      !builder.AddAlternativeName(alternative_names.get())) {
    return Invalid("a certificate cannot hold these names");
  }
  builder.Add(ca.get(), {{NID_basic_constraints, "critical,CA:FALSE"},
                         {NID_key_usage, "critical,digitalSignature"},
                         {NID_ext_key_usage, "serverAuth"},
                         {NID_subject_key_identifier, "hash"},
                         {NID_authority_key_identifier, "keyid"}});
  return builder.SignedPem(ca_key.get());
}

}  // namespace parley::crypto
