"""Manual pages (roff) and bash completion for what command_line.py has read."""


def escaped(text):
    """Text that roff shows as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def page_name(command):
    return "-".join(command.path)


def items(title, listed):
    lines = [".SH " + title] if listed else []
    for item in listed:
        lines += [".TP", "\\fB%s\\fR" % escaped(item.typed), escaped(item.help) or "\\&"]
    return lines


def page(command, section, version, see_also=()):
    """One manual page."""
    name = page_name(command)
    lines = ['.TH "%s" "%d" "" "Parley %s" "Parley"' % (name.upper(), section, version), ".SH NAME",
             "%s \\- %s" % (escaped(name), escaped(command.summary.rstrip("."))), ".SH SYNOPSIS",
             "\\fB%s\\fR" % escaped(command.usage)]
    lines += items("ARGUMENTS", command.positionals)
    lines += items("COMMANDS", command.subcommands)
    lines += items("OPTIONS", command.options)
    if command.footer:
        lines += [".SH MORE", ".nf", *(escaped(line) or "\\&" for line in command.footer), ".fi"]
    related = [page_name(below) + "(1)" for below in command.commands] + list(see_also)
    if len(command.path) > 1:
        related.insert(0, "-".join(command.path[:-1]) + "(1)")
    if related:
        lines += [".SH SEE ALSO", escaped(", ".join(related))]
    return "\n".join(lines) + "\n"


COMPLETION = """# Bash completion for parley, made from its own --help.
# What may follow each command, and which of its options take something.
declare -A _parley_words=(
%s)
declare -A _parley_values=(
%s)

_parley() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} path=parley typed
  for typed in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    # Only a command leads further; options and what they take do not.
    if [[ $typed && ${_parley_words["$path $typed"]+known} ]]; then path="$path $typed"; fi
  done
  COMPREPLY=()
  if [[ $before == --output ]]; then
    mapfile -t COMPREPLY < <(compgen -W "text json" -- "$word")
  elif [[ " ${_parley_values[$path]} ${_parley_values[parley]} " != *" $before "* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "${_parley_words[$path]}" -- "$word")
  fi
}
# Where it has nothing to say, a file may be meant.
complete -o default -F _parley parley
"""


def table(program, words):
    return "".join("  ['%s']='%s'\n" % (" ".join(command.path), " ".join(words(command))) for command in program.all())


def completion(program):
    """Of a program and all its commands. An option of the program itself may follow any of them."""
    everywhere = [word for option in program.options for word in option.words]
    return COMPLETION % (
        table(program, lambda command: [below.typed for below in command.subcommands] + sorted(
            {*everywhere, *(word for option in command.options for word in option.words)} - {"-h", "--version"})),
        table(program, lambda command: [word for option in command.options if option.takes_value
                                        for word in option.words]))
