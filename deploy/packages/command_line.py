"""A program's commands and options, as its own --help has them: what its manual and its completion are made from."""

import dataclasses
import re
import subprocess

# "  --ttl …=24h     How long": two spaces, the word and what it takes, then two spaces or a new line, then the help.
ITEM = re.compile(r"^  (?! )(\S(?:.*?\S)?)(?:  +(\S.*))?$")
# What an option cannot be given with, or without, stands between the two, and then one space may be all.
BESIDE = re.compile(r"^(.*?)(?: (?:Excludes|Needs):(?: --[a-z-]+)+)+(?: +(.*))?$")
CONTINUED = re.compile(r"^ {10,}(\S.*)$")
# Which of the program's own options a command takes; it refuses the others.
TAKES = re.compile(r"^Takes these of parley's own options: (.*)\.$")
SECTIONS = ("Options:", "Positionals:", "Subcommands:")


@dataclasses.dataclass
class Item:
    """An option, a positional or a subcommand: what is typed, and what it is for."""
    typed: str
    help: str

    @property
    def words(self):
        """-h and --help of "-h,--help"."""
        return self.typed.split()[0].split("=")[0].split(",")

    @property
    def takes_value(self):
        return len(self.typed.split()) > 1 or "=" in self.typed


def item(typed, help_text):
    beside = BESIDE.match(typed)
    if beside:
        typed, help_text = beside.group(1), " ".join(filter(None, (beside.group(2), help_text)))
    return Item(typed, help_text)


@dataclasses.dataclass
class Command:
    """One command with everything below it."""
    path: list
    summary: str = ""
    usage: str = ""
    options: list = dataclasses.field(default_factory=list)
    positionals: list = dataclasses.field(default_factory=list)
    subcommands: list = dataclasses.field(default_factory=list)
    # What follows the options: examples, and more to know.
    footer: list = dataclasses.field(default_factory=list)
    commands: list = dataclasses.field(default_factory=list)
    # Of the program's own options; None for all, as of what only leads to commands.
    takes: set = None

    def takes_option(self, word):
        """Whether one of the program's own options may follow."""
        return self.takes is None or word in self.takes or word in ("-h", "--help")

    def all(self):
        yield self
        for command in self.commands:
            yield from command.all()


def parse(path, text):
    """One --help."""
    command, section, lines = Command(path), None, text.splitlines()
    command.summary = lines[0]
    into = {"Options:": command.options, "Positionals:": command.positionals, "Subcommands:": command.subcommands}
    for line in lines[1:]:
        if line.startswith("Usage: "):
            command.usage = line[len("Usage: "):]
        elif line in SECTIONS:
            section = into[line]
        elif section is not None and CONTINUED.match(line):
            section[-1].help = (section[-1].help + " " + CONTINUED.match(line).group(1)).strip()
        elif section is not None and ITEM.match(line):
            section.append(item(*(part or "" for part in ITEM.match(line).groups())))
        elif line or command.footer:
            section = None
            takes = TAKES.match(line)
            if takes:
                command.takes = set(takes.group(1).split(", "))
            command.footer.append(line)
    return command


def read(program, name):
    """A program and, below it, each of its commands."""
    def visit(path):
        result = subprocess.run([program, *path[1:], "--help"], check=True, capture_output=True, text=True)
        command = parse(path, result.stdout)
        command.commands = [visit([*path, item.typed]) for item in command.subcommands]
        return command
    return visit([name])
