"""The public API: every RPC names who may call it, everything is commented. Needs the Python of tools/install."""

import re
import subprocess
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tree import ROOT

# Where Debian has google/api.
GOOGLEAPIS = "/usr/share/gocode/src/github.com/gogo/googleapis"
ACCESS_OPTION = "parley.access.v1.access"
METHOD_OPTIONS = "google.protobuf.MethodOptions"
# What a shared key buys.
JOINER_MAY_CALL = {"parley.task.v1.ParticipationService.Join"}
# An auditor changes nothing but devices of their own.
AUDITOR_MAY_CALL = {
    "parley.enrol.v1.ExchangeService.Exchange",
    "parley.enrol.v1.InvitationService.CancelInvitation",
    "parley.enrol.v1.InvitationService.CreateInvitation",
    "parley.enrol.v1.InvitationService.ResendInvitation",
    "parley.trust.v1.TrustService.Enrol",
    "parley.trust.v1.TrustService.AppendCertificates",
    "parley.trust.v1.TrustService.RenewCredential",
}


def compile_protos(tree):
    sources = [path[len("proto/"):] for path, _ in tree.select(".proto", under="proto/")]
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", "-I" + str(ROOT / "proto"), "-I" + GOOGLEAPIS, "--include_imports",
                        "--include_source_info", "--descriptor_set_out=" + out.name, *sources], check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read())


def our_files(files):
    return [file for file in files.file if file.package.startswith("parley.")]


class Options:
    """Reads the access option, which the generated MethodOptions does not know."""

    def __init__(self, files):
        pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            pool.AddSerializedFile(file.SerializeToString())
        self._class = message_factory.GetMessageClass(pool.FindMessageTypeByName(METHOD_OPTIONS))
        self._extension = pool.FindExtensionByName(ACCESS_OPTION)
        self._roles = pool.FindEnumTypeByName("parley.access.v1.Role").values_by_number

    def roles(self, method):
        options = self._class.FromString(method.options.SerializeToString())
        return [self._roles[number].name for number in options.Extensions[self._extension].roles]


def roles(files):
    """Every RPC names its roles; a joiner may call Join and nothing else."""
    options, problems = Options(files), []
    for file in our_files(files):
        for service in file.service:
            for method in service.method:
                name = "%s.%s.%s" % (file.package, service.name, method.name)
                named = options.roles(method)
                if not named:
                    problems.append("%s: %s names no role, so nobody may call it" % (file.name, name))
                if "ROLE_UNSPECIFIED" in named or len(set(named)) != len(named):
                    problems.append("%s: %s names a role twice or none in particular" % (file.name, name))
                if "ROLE_JOINER" in named and name not in JOINER_MAY_CALL:
                    problems.append("%s: a joiner's key is shared by many; it may not call %s" % (file.name, name))
                if "ROLE_AUDITOR" in named and name not in AUDITOR_MAY_CALL and not re.match(
                        "Get|List|Watch|Explain", method.name):
                    problems.append("%s: an auditor only reads; it may not call %s" % (file.name, name))
    return problems


def comments(files):
    """Services, RPCs, messages and fields say what they are."""
    problems = []
    for file in our_files(files):
        commented = {tuple(location.path) for location in file.source_code_info.location
                     if location.leading_comments.strip() or location.trailing_comments.strip()}

        def visit(message, name, path):
            for index, field in enumerate(message.field):
                if path + (2, index) not in commented:
                    problems.append("proto/%s: %s.%s has no comment" % (file.name, name, field.name))
            for index, nested in enumerate(message.nested_type):
                if not nested.options.map_entry:
                    visit(nested, "%s.%s" % (name, nested.name), path + (3, index))

        for index, message in enumerate(file.message_type):
            visit(message, message.name, (4, index))
        for index, service in enumerate(file.service):
            if (6, index) not in commented:
                problems.append("proto/%s: service %s has no comment" % (file.name, service.name))
            for number, method in enumerate(service.method):
                if (6, index, 2, number) not in commented:
                    problems.append("proto/%s: %s.%s has no comment" % (file.name, service.name, method.name))
    return problems


CHECKS = (roles, comments)
