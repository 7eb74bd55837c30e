"""docs/api/, the API reference: tools/api_reference writes it from the .proto files, tools/check reference holds it.

One page a package: its services with who may call what, then its messages and enums in the order of the files. A type's
name links to where it is described.
"""

import pathlib
import sys

from api import Options, compile_protos, our_files
from tree import ROOT, Tree

FOLDER = pathlib.Path("docs/api")
GOOGLE = "https://protobuf.dev/reference/protobuf/google.protobuf/#"
SCALARS = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool",
           9: "string", 12: "bytes", 13: "uint32", 15: "sfixed32", 16: "sfixed64", 17: "sint32", 18: "sint64"}
REPEATED, MESSAGE, ENUM = 3, 11, 14
# Numbers of fields in descriptor.proto, of which the path of a comment is made.
IN_FILE, IN_MESSAGE = {"message": 4, "enum": 5, "service": 6}, {"field": 2, "message": 3, "enum": 4}


def page_name(package):
    """parley.task.v1 is in task.v1.md."""
    return package[len("parley."):] + ".md"


def sentence(text):
    """A comment as running text; an empty line between paragraphs stays."""
    paragraphs = [" ".join(part.split()) for part in text.strip().split("\n\n")]
    return "\n\n".join(paragraphs).replace("<", "&lt;")


def cell(text):
    """The same in a table."""
    return sentence(text).replace("\n\n", "<br>").replace("|", "\\|")


class Page:
    """What one package has."""

    def __init__(self, package, files, options, packages):
        self.package, self.files, self.options, self.packages = package, files, options, packages
        self.lines = []

    def render(self):
        self.lines = ["# " + self.package, "", "<!-- Written by tools/api_reference from proto/. -->", ""]
        for file in self.files:
            for index, service in enumerate(file.service):
                self.service(file, service, (IN_FILE["service"], index))
        for file in self.files:
            for index, message in enumerate(file.message_type):
                self.message(file, message, message.name, (IN_FILE["message"], index))
            for index, enum in enumerate(file.enum_type):
                self.enum(file, enum, enum.name, (IN_FILE["enum"], index))
        return "\n".join(self.lines).rstrip() + "\n"

    @staticmethod
    def comment(file, path):
        for location in file.source_code_info.location:
            if tuple(location.path) == path:
                return location.leading_comments or location.trailing_comments
        return ""

    def add(self, *lines):
        self.lines += [*lines, ""]

    def link(self, type_name):
        """A link to a message or an enum by its full name."""
        name = type_name.lstrip(".")
        if name.startswith("google.protobuf."):
            return "[%s](%s%s)" % (name.split(".")[-1], GOOGLE, name.split(".")[-1].lower())
        package = max((package for package in self.packages if name.startswith(package + ".")), key=len)
        local = name[len(package) + 1:]
        page = "" if package == self.package else page_name(package)
        return "[%s](%s#%s)" % (local, page, local.lower().replace(".", ""))

    def type_of(self, message, field):
        if field.type in (MESSAGE, ENUM):
            for nested in message.nested_type:
                if nested.options.map_entry and field.type_name.endswith(".%s.%s" % (message.name, nested.name)):
                    return "map of %s to %s" % tuple(self.type_of(nested, part) for part in nested.field)
            name = self.link(field.type_name)
        else:
            name = SCALARS[field.type]
        return "repeated " + name if field.label == REPEATED else name

    def service(self, file, service, path):
        self.add("## " + service.name)
        self.add(sentence(self.comment(file, path)))
        for index, method in enumerate(service.method):
            self.add("### %s.%s" % (service.name, method.name))
            roles = [role[len("ROLE_"):].lower() for role in self.options.roles(method)]
            self.add("%s%s → %s%s. May call: %s." % (
                "stream of " if method.client_streaming else "", self.link(method.input_type),
                "stream of " if method.server_streaming else "", self.link(method.output_type), ", ".join(roles)))
            self.add(sentence(self.comment(file, path + (2, index))))

    def message(self, file, message, name, path):
        self.add("## " + name)
        comment = self.comment(file, path)
        if comment.strip():
            self.add(sentence(comment))
        rows = []
        for index, field in enumerate(message.field):
            choice = ""
            if field.HasField("oneof_index") and not field.proto3_optional:
                choice = "One of `%s`. " % message.oneof_decl[field.oneof_index].name
            rows.append("| %d | `%s` | %s | %s%s |" % (
                field.number, field.name, self.type_of(message, field), choice,
                cell(self.comment(file, path + (IN_MESSAGE["field"], index)))))
        if rows:
            self.add("| | field | type | |", "|---|---|---|---|", *rows)
        for index, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                self.message(file, nested, "%s.%s" % (name, nested.name), path + (IN_MESSAGE["message"], index))
        for index, enum in enumerate(message.enum_type):
            self.enum(file, enum, "%s.%s" % (name, enum.name), path + (IN_MESSAGE["enum"], index))

    def enum(self, file, enum, name, path):
        self.add("## " + name)
        comment = self.comment(file, path)
        if comment.strip():
            self.add(sentence(comment))
        self.add("| | value | |", "|---|---|---|",
                 *("| %d | `%s` | %s |" % (value.number, value.name, cell(self.comment(file, path + (2, index))))
                   for index, value in enumerate(enum.value)))


def index(pages):
    lines = ["# API reference", "", "<!-- Written by tools/api_reference from proto/. -->", "",
             'Errors are google.rpc.Status with one google.rpc.ErrorInfo of the domain "parley", whose reason',
             "names the cause. Who may call an RPC stands in `proto/`, and is what the server checks.", ""]
    for page in pages:
        services = [service.name for file in page.files for service in file.service]
        lines.append("- [%s](%s)%s" % (page.package, page_name(page.package),
                                       ": " + ", ".join(services) if services else ""))
    return "\n".join(lines) + "\n"


def render(files):
    """{path: text} of the whole reference."""
    ours, options = our_files(files), Options(files)
    packages = sorted({file.package for file in ours})
    ours.sort(key=lambda file: file.name)
    pages = [Page(package, [file for file in ours if file.package == package], options, packages)
             for package in packages]
    rendered = {str(FOLDER / page_name(page.package)): page.render() for page in pages}
    rendered[str(FOLDER / "README.md")] = index(pages)
    return rendered


def current(files):
    """What is in the tree is what the protos say."""
    rendered = render(files)
    there = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / FOLDER).glob("*.md")}
    return ["%s is not what proto/ says; run tools/api_reference" % path for path in sorted({*rendered, *there})
            if rendered.get(path) != there.get(path)]


CHECKS = (current,)


def main():
    rendered = render(compile_protos(Tree.tracked()))
    (ROOT / FOLDER).mkdir(parents=True, exist_ok=True)
    for path in (ROOT / FOLDER).glob("*.md"):
        if str(path.relative_to(ROOT)) not in rendered:
            path.unlink()
    for path, text in rendered.items():
        (ROOT / path).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
