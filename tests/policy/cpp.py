"""C++ as clang-format lays it out: enough of it for rules about declarations."""

import re

RAW_STRING = re.compile(r'R"(\w*)\((.*?)\)\1"', re.DOTALL)
ACCESS = ("public:", "private:", "protected:")
NO_DECLARATION = ("}", "#", "namespace ", 'extern "C" {') + ACCESS
CLASS = re.compile(r"(template <.*> )?(class|struct|union)\b")


def is_class(statement):
    return CLASS.match(statement) is not None


def statements(text):
    """(first line, last line, indentation, text, comment) of each declaration of a namespace or of a class, in C++ that
    clang-format laid out. The last line is the one with the closing brace, which is then the end of the text too; of a
    class, the declarations inside follow. The comment is what stands above it or above its paragraph."""
    text = RAW_STRING.sub(lambda raw: '""' + "\n" * raw.group(2).count("\n"), text)
    lines = text.split("\n")
    comment, at = "", 0
    while at < len(lines):
        line = lines[at]
        indentation = len(line) - len(line.lstrip())
        code = line.strip()
        if code.startswith("//"):
            comment = code[2:] if at == 0 or not lines[at - 1].strip().startswith("//") else comment + code[2:]
            at += 1
            continue
        if not code or code.startswith(NO_DECLARATION):
            if code in ACCESS:
                yield at, at, indentation + 1, code, ""
            while lines[at].endswith("\\"):
                at += 1
            comment = ""
            at += 1
            continue
        first, statement = at, ""
        while at < len(lines):
            code = re.sub(r"\s*//.*", "", lines[at]).strip()
            statement += " " + code
            if code.endswith((";", "{", "}")) or not code:
                break
            at += 1
        last = at
        if statement.endswith("{"):
            end = re.compile(r" {%d}\}" % indentation)
            last = next((n for n in range(at, len(lines)) if end.match(lines[n])), at)
            statement += lines[last].strip()
        yield first, last, indentation, statement.strip(), comment
        at = at + 1 if is_class(statement.strip()) and statement.endswith("};") else last + 1
