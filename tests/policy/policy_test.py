"""The policy checks find what they are for: each is given something to find, and something to leave alone."""

import unittest

from google.protobuf import descriptor_pb2

import api
import binaries
import layering
import style
from tree import Tree

TABLE = """
| folder | what it is | may use |
|---|---|---|
| `proto/` | the API | |
| `lib/base` | clock | |
| `lib/crypto` | keys | base |
| `lib/transport` | the door | base, crypto |
| `lib/keys` | identities | crypto, transport's `peer.h` |
| `services/keyd` | keys | lib |
| `services/taskd` | tasks | lib |
| `tests/`, `bench/` | tests | all |
"""
NO_PROBLEM = []


def tree(**files):
    """A tree of files whose names are given with __ for / and _DOT_ for the dot."""
    named = {name.replace("__", "/").replace("_DOT_", "."): text for name, text in files.items()}
    return Tree({"ARCHITECTURE.md": TABLE, **named})


class Layering(unittest.TestCase):

    def test_a_folder_uses_what_the_table_says_and_what_follows_from_it(self):
        self.assertEqual(layering.folders(tree(
            lib__keys__a_DOT_h='#include "lib/base/clock.h"\n#include "lib/transport/peer.h"\n',
            services__keyd__main_DOT_cc='#include "lib/transport/listener.h"\n')), NO_PROBLEM)

    def test_a_layer_above_is_refused(self):
        problems = layering.folders(tree(lib__base__a_DOT_h='#include "lib/crypto/aead.h"\n'))
        self.assertEqual(problems, ["lib/base/a.h:1: lib/base may not use lib/crypto/aead.h (ARCHITECTURE.md)"])

    def test_another_header_than_the_one_named_is_refused(self):
        self.assertEqual(len(layering.folders(tree(lib__keys__a_DOT_h='#include "lib/transport/listener.h"\n'))), 1)

    def test_a_folder_that_is_not_in_the_table_is_refused(self):
        self.assertEqual(len(layering.folders(tree(lib__novel__a_DOT_h=""))), 1)

    def test_a_service_may_not_include_another(self):
        self.assertEqual(len(layering.services(tree(
            services__keyd__service__a_DOT_cc='#include "services/taskd/domain/b.h"\n'))), 1)

    def test_domain_code_may_not_reach_grpc_through_another_header(self):
        problems = layering.services(tree(
            services__keyd__domain__a_DOT_h='#include "lib/base/b.h"\n', lib__base__b_DOT_h="#include <grpcpp/x.h>\n"))
        self.assertEqual(problems, ["services/keyd/domain/a.h: domain code may not know grpcpp/x.h "
                                    "(services/keyd/domain/a.h > lib/base/b.h > grpcpp/x.h)"])

    def test_storage_code_may_not_know_the_service(self):
        self.assertEqual(len(layering.services(tree(
            services__keyd__store__a_DOT_h='#include "services/keyd/service/b.h"\n'))), 1)

    def test_what_a_service_does_may_not_know_how_it_is_called(self):
        self.assertEqual(len(layering.services(tree(
            services__keyd__keys__a_DOT_h='#include "services/keyd/service/b.h"\n'))), 1)
        self.assertEqual(layering.services(tree(
            services__keyd__keyd_DOT_cc='#include "services/keyd/service/b.h"\n')), NO_PROBLEM)

    def test_domain_code_may_not_know_the_store(self):
        self.assertEqual(len(layering.services(tree(
            services__keyd__domain__a_DOT_h='#include "lib/store/store.h"\n'))), 1)

    def test_a_path_passes_files_that_exist(self):
        path = "1. `lib/base/a.cc` calls `lib/base/b.h`.\n"
        self.assertEqual(layering.paths(Tree({"ARCHITECTURE.md": path, "lib/base/a.cc": "", "lib/base/b.h": ""})),
                         NO_PROBLEM)
        self.assertEqual(layering.paths(Tree({"ARCHITECTURE.md": path, "lib/base/a.cc": ""})),
                         ["ARCHITECTURE.md: there is no lib/base/b.h"])

    def test_boringssl_stays_where_it_is(self):
        self.assertEqual(layering.boringssl(tree(lib__crypto__a_DOT_cc='#include "openssl/aead.h"\n')), NO_PROBLEM)
        self.assertEqual(len(layering.boringssl(tree(lib__keys__a_DOT_cc='#include "openssl/aead.h"\n'))), 1)
        self.assertEqual(len(layering.boringssl(tree(lib__crypto__a_DOT_cc='#include "openssl/ssl.h"\n'))), 1)

    def test_a_public_header_may_not_let_boringssl_through(self):
        problems = layering.boringssl(tree(
            lib__crypto__boringssl_DOT_h='#include "openssl/evp.h"\n',
            lib__crypto__a_DOT_h='#include "lib/crypto/boringssl.h"\n'))
        self.assertEqual(len(problems), 1)


class Style(unittest.TestCase):

    def found(self, check, path, text):
        return len(check(Tree({path: text})))

    def test_sleeping(self):
        for line in ("std::this_thread::sleep_for(x);", "usleep(3000);", "  sleep(1);", "absl::SleepFor(x);"):
            self.assertEqual(self.found(style.no_sleeping_tests, "lib/base/a_test.cc", line + "\n"), 1, line)
        self.assertEqual(self.found(style.no_sleeping_tests, "tests/e2e/a_test.py", "time.sleep(1)\n"), 1)
        for line in ("usleep(random() % 3000);", 'hook = "sleep 100";', "NeverSleeps();"):
            self.assertEqual(self.found(style.no_sleeping_tests, "lib/base/a_test.cc", line + "\n"), 0, line)

    def test_unfinished_work(self):
        self.assertEqual(self.found(style.nothing_unfinished, "a.md", "TO" "DO: more\n"), 1)
        self.assertEqual(self.found(style.nothing_unfinished, "a.md", "nothing left to do\n"), 0)

    def test_sizes(self):
        self.assertEqual(self.found(style.sizes, "a.cc", "\n" * 601), 1)
        self.assertEqual(self.found(style.sizes, "a.cc", "x" * 121 + "\n"), 1)
        self.assertEqual(self.found(style.sizes, "a.cc", "x"), 1)
        self.assertEqual(self.found(style.sizes, "a.cc", "x \n"), 1)
        self.assertEqual(self.found(style.sizes, "a.cc", "x" * 120 + "\n"), 0)

    def test_functions(self):
        body = "  int a = 1;\n" * 59
        for text in ("int F() {\n%s}\n", "template <int N>\nint F(int a,\n      int b) {\n%s}\n",
                     "class A {\n  int b;\n  void F() {\n%s  }\n};\n", "A::A()\n    : a_(a),\n      b_{a} {\n%s}\n",
                     "TEST(A, B) {\n  if (true) {\n%s  }\n}\n", 'char a[] = R"(\n}\n{)";\nint F() {\n%s}\n'):
            self.assertEqual(self.found(style.functions, "lib/base/a.cc", text % (body + "  int b;\n")), 1, text)
        for text in ("int F() {\n%s}\n", "const int kA[] = {\n%s  1,\n  1,\n  1,\n};\n",
                     "namespace a {\n%sint b;\nint c;\n}\n", "class A {\n%s  void F() {}\n  void G();\n};\n",
                     "int F() {\n}\n%sint G() {\n}\n"):
            self.assertEqual(self.found(style.functions, "lib/base/a.cc", text % body[:-13]), 0, text)

    def test_namespaces(self):
        def found(path, text):
            return len(style.namespaces(Tree({"lib/rpc/a.h": "namespace parley::rpc {\nint a;\n}\n", path: text})))
        self.assertEqual(found("lib/rpc/b.h", "namespace parley::other {\nint b;\n}\n"), 1)
        self.assertEqual(found("lib/rpc/b.cc", "namespace parley::other {\nclass B;\n}\n"), 1)
        self.assertEqual(found("lib/rpc/b.h", "namespace parley::other {\nclass B;\n}\n"), 0)
        self.assertEqual(found("lib/keys/b.h", "namespace parley::keys {\nint b;\n}\n"), 0)

    def test_type_names(self):
        first = "class A final : public B {\n};\n"
        for text in ("struct A {\n  int a;\n};\n", "enum class A { kOne };\n", "template <int N>\nclass A {\n};\n"):
            self.assertEqual(len(style.type_names(Tree({"lib/rpc/a.h": first, "lib/keys/a.h": text}))), 1, text)
        for text in ("class A;\n", "class B {\n  struct A {\n  };\n};\n", "class B {\n  A a;\n};\n"):
            self.assertEqual(len(style.type_names(Tree({"lib/rpc/a.h": first, "lib/keys/a.h": text}))), 0, text)

    def test_the_purpose_of_a_header(self):
        for text in ("", "// For keys.\n", "// what the keys of a person are for.\n", "// What the keys of a person\n"):
            self.assertEqual(self.found(style.purposes, "lib/base/a.h", text + "#ifndef A\n"), 1, text)
        for text in ("// Finds the keys\n// of a person.\n", "// Finds the keys of a person.\n//\n// Threads: any.\n"):
            self.assertEqual(self.found(style.purposes, "lib/base/a.h", text + "#ifndef A\n"), 0, text)

    def test_threads(self):
        for text in ("class A {\n public:\n  void B();\n};\n", "struct A {\n  int b;\n  int C() const;\n};\n"):
            self.assertEqual(self.found(style.threads, "lib/base/a.h", text), 1, text)
            self.assertEqual(self.found(style.threads, "lib/base/a.h", "// Threads: one at a time.\n" + text), 0, text)
            self.assertEqual(self.found(style.threads, "lib/base/fake_a.h", text), 0, text)
        for line in ("std::function<void(int)> b;", "int b ABSL_GUARDED_BY(c);", "absl::Time t = absl::Now();"):
            text = "struct A {\n  %s\n};\nint F();\n" % line
            self.assertEqual(self.found(style.threads, "lib/base/a.h", text), 0, text)

    def test_errors(self):
        for text in ("absl::Status F();\n", "// Not an error.\nint E();\n\nabsl::Status F();\n",
                     "// Says how it went.\nabsl::StatusOr<std::map<int, int>> F(int a,\n    int b);\n",
                     "class A {\n public:\n  static absl::Status F();\n};\n"):
            self.assertEqual(self.found(style.errors, "lib/base/a.h", "#ifndef A\n" + text), 1, text)
        for text in ("// Returns NOT_FOUND.\nabsl::Status F();\n", "using F = absl::Status();\n",
                     "// UNAVAILABLE if it ends.\nint E();\nabsl::Status F();\n",
                     "// Every method returns the errors of B.\nclass A {\n  int a;\n\n  absl::Status F();\n};\n",
                     "class A {\n private:\n  absl::Status F();\n};\n",
                     "class A {\n  absl::Status F() override;\n};\n"):
            self.assertEqual(self.found(style.errors, "lib/base/a.h", "#ifndef A\n" + text), 0, text)
        text = "// Errors: EXPIRED.\n#ifndef A\nabsl::Status F();\n"
        self.assertEqual(self.found(style.errors, "lib/base/a.h", text), 0)

    def test_first_words(self):
        for line in ("// Of the task.", "  // As above.", "int a;  // That of b."):
            self.assertEqual(self.found(style.first_words, "lib/base/a.h", line + "\n"), 1, line)
        for line in ("// A task\n// Of the old kind.", "// Often.", '"https://a/b"'):
            self.assertEqual(self.found(style.first_words, "lib/base/a.h", line + "\n"), 0, line)

    def test_paths_of_a_machine(self):
        self.assertEqual(self.found(style.no_machine, "a.sh", "cd /ro" "ot/parley\n"), 1)
        self.assertEqual(self.found(style.no_machine, "a.sh", "cd $HOME/code/parley /usr/lib\n"), 0)

    def test_names(self):
        self.assertEqual(self.found(style.names, "lib/base/string_utils.cc", ""), 1)
        self.assertEqual(self.found(style.names, "lib/base/a.h", "#ifndef A_H\n#define A_H\n"), 1)
        guard = "PARLEY_LIB_BASE_A_H_"
        self.assertEqual(self.found(style.names, "lib/base/a.h", "#ifndef %s\n#define %s\n" % (guard, guard)), 0)

    def test_language(self):
        for line in ("std::string_view a;", '#include "absl/synchronization/barrier.h"', "absl::Mutex a;", "  throw 1;",
                     'LogInfo("key", {{"key", key.Expose()}});'):
            self.assertEqual(self.found(style.language, "lib/base/a.cc", line + "\n"), 1, line)
        self.assertEqual(self.found(style.language, "lib/base/a.cc", "absl::string_view a;\n"), 0)

    def test_exposures(self):
        self.assertEqual(self.found(style.exposures, "lib/novel/a.cc", "key.Expose();\n"), 1)
        self.assertEqual(self.found(style.exposures, "lib/novel/a_test.cc", "key.Expose();\n"), 0)


class Api(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.real = api.compile_protos(Tree.tracked())

    def changed(self, package, change):
        """The real API after a change to the file of a service."""
        files = descriptor_pb2.FileDescriptorSet()
        files.CopyFrom(self.real)
        change([file for file in files.file if file.package == package and file.service][-1])
        return files

    def roles_from(self, method):
        """A change: the last RPC of the file gets the options of another."""
        def change(file):
            methods = {m.name: m for service in file.service for m in service.method}
            last = file.service[-1].method[-1]
            last.options.CopyFrom(methods[method].options if method else descriptor_pb2.MethodOptions())
        return change

    def test_an_rpc_without_roles(self):
        problems = api.roles(self.changed("parley.key.v1", self.roles_from(None)))
        self.assertEqual(len(problems), 1)
        self.assertIn("names no role", problems[0])

    def test_a_joiner_may_only_join(self):
        def change(file):
            file.service[-1].method[-1].options.CopyFrom(joining)
        joining = [method for file in self.real.file for service in file.service for method in service.method
                   if method.name == "Join"][0].options
        problems = api.roles(self.changed("parley.key.v1", change))
        self.assertEqual(len(problems), 1)
        self.assertIn("shared by many", problems[0])

    def test_an_uncommented_field(self):
        def change(file):
            file.message_type[0].field.add().name = "novel"
        problems = api.comments(self.changed("parley.key.v1", change))
        self.assertEqual(len(problems), 1)
        self.assertIn("novel has no comment", problems[0])


class Binaries(unittest.TestCase):
    BORINGSSL = "\tlibcrypto.so.0 => /usr/lib/x86_64-linux-gnu/android/libcrypto.so.0 (0x0)\n"

    def found(self, *lines):
        return len(binaries.libraries("keyd", self.BORINGSSL + "".join("\t%s (0x0)\n" % line for line in lines)))

    def test_what_may_come_with_a_binary(self):
        self.assertEqual(self.found("libgrpc_unsecure.so.29 => /lib/libgrpc_unsecure.so.29", "libc.so.6 => /lib/c"), 0)

    def test_what_may_not(self):
        for library in ("libssl.so.3", "libcrypto.so.3", "libgrpc.so.29", "libgrpc++.so.1.51",
                        "libgrpc++_reflection.so.1.51"):
            self.assertEqual(self.found("%s => /lib/x86_64-linux-gnu/%s" % (library, library)), 1, library)
        self.assertEqual(self.found("libzstd.so.1 => not found"), 1)

    def test_a_binary_without_boringssl_is_not_the_one_that_is_shipped(self):
        self.assertEqual(len(binaries.libraries("keyd", "\tlibc.so.6 => /lib/libc.so.6 (0x0)\n")), 1)

    def test_hardening_of_a_real_program(self):
        self.assertEqual(binaries.hardening("bash", binaries.output_of("readelf", "-h", "/bin/bash"), "BIND_NOW"),
                         NO_PROBLEM)
        self.assertEqual(len(binaries.hardening("x", "Type: EXEC (Executable file)", "")), 2)


if __name__ == "__main__":
    unittest.main()
