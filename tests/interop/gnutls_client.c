/* A GnuTLS client by pre-shared key: HOST PORT IDENTITY KEY_IN_HEX. Prints the session and what the server says first.
 * gnutls-cli of Debian 12 completes such a handshake and then crashes when it describes it. */
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char kPriority[] = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-PSK:-CIPHER-ALL:+CHACHA20-POLY1305";
/* HTTP/2's preface and empty settings, to which a gRPC server answers with its own. */
static const char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

static int Fail(const char* what, int error) {
  fprintf(stderr, "%s: %s\n", what, gnutls_strerror(error));
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *address;
  if (getaddrinfo(argv[1], argv[2], &hints, &address) != 0) return 2;
  const int fd = socket(address->ai_family, address->ai_socktype, address->ai_protocol);
  if (fd < 0 || connect(fd, address->ai_addr, address->ai_addrlen) != 0) return Fail("connect", GNUTLS_E_PUSH_ERROR);
  freeaddrinfo(address);

  gnutls_psk_client_credentials_t credentials;
  gnutls_psk_allocate_client_credentials(&credentials);
  const gnutls_datum_t key = {(unsigned char*)argv[4], (unsigned)strlen(argv[4])};
  int result = gnutls_psk_set_client_credentials(credentials, argv[3], &key, GNUTLS_PSK_KEY_HEX);
  if (result < 0) return Fail("key", result);
  gnutls_session_t session;
  gnutls_init(&session, GNUTLS_CLIENT);
  result = gnutls_priority_set_direct(session, kPriority, NULL);
  if (result < 0) return Fail("priority", result);
  gnutls_credentials_set(session, GNUTLS_CRD_PSK, credentials);
  const gnutls_datum_t protocol = {(unsigned char*)"h2", 2};
  gnutls_alpn_set_protocols(session, &protocol, 1, 0);
  gnutls_transport_set_int(session, fd);
  gnutls_handshake_set_timeout(session, GNUTLS_DEFAULT_HANDSHAKE_TIMEOUT);
  do {
    result = gnutls_handshake(session);
  } while (result < 0 && !gnutls_error_is_fatal(result));
  if (result < 0) return Fail("handshake", result);
  printf("%s %s %s\n", gnutls_protocol_get_name(gnutls_protocol_get_version(session)),
         gnutls_kx_get_name(gnutls_kx_get(session)), gnutls_cipher_get_name(gnutls_cipher_get(session)));

  gnutls_record_send(session, kPreface, sizeof(kPreface) - 1);
  unsigned char frame[9];
  const ssize_t count = gnutls_record_recv(session, frame, sizeof(frame));
  /* RFC 9113, section 6.5: the server's first frame is SETTINGS. */
  printf("%s\n", count == (ssize_t)sizeof(frame) && frame[3] == 4 ? "HTTP/2 settings" : "no HTTP/2");
  gnutls_bye(session, GNUTLS_SHUT_WR);
  close(fd);
  return 0;
}
