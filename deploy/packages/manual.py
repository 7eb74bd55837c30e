"""Manual pages (roff) and completion for bash and zsh, for what command_line.py has read."""


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


BASH = """# Bash completion for parley, made from its own --help.
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


def bash_completion(program):
    """Of a program and all its commands. An option of the program itself may follow any of them."""
    everywhere = [word for option in program.options for word in option.words]
    return BASH % (
        table(program, lambda command: [below.typed for below in command.subcommands] + sorted(
            {*filter(command.takes_option, everywhere),
             *(word for option in command.options for word in option.words)} - {"-h", "--version"})),
        table(program, lambda command: [word for option in command.options if option.takes_value
                                        for word in option.words]))


ZSH = """#compdef parley
# Zsh completion for parley, made from its own --help.
_parley() {
  local at=parley typed before=$words[CURRENT-1] values
  local -a commands options
  for typed in ${words[2,CURRENT-1]}; do
    # Only a command leads further; options and what they take do not.
    case "$at $typed" in
      %s) at="$at $typed" ;;
    esac
  done
  # What may follow each command, and which of its options take something.
  case $at in
%s  esac
  if [[ $before == --output ]]; then
    commands=(text json)
    _describe form commands
  elif [[ " $values " == *" $before "* ]]; then
    _files
  elif [[ $words[CURRENT] == -* ]]; then
    _describe -o option options
  elif (( $#commands )); then
    _describe command commands
  else
    _files
  fi
}
_parley "$@"
"""


def quoted(text):
    """A word of the shell."""
    return "'%s'" % text.replace("'", "'\\''")


def described(pairs):
    """word:help, as _describe takes it."""
    return " ".join(quoted("%s:%s" % pair) for pair in sorted(pairs))


def zsh_completion(program):
    """As bash_completion, with what each word is for."""
    cases = ""
    for command in program.all():
        own = [option for option in program.options if command.takes_option(option.words[-1])]
        options = {word: option for option in [*own, *command.options] for word in option.words
                   if word not in ("-h", "--version")}
        cases += "    %s)\n      commands=(%s)\n      options=(%s)\n      values=%s ;;\n" % (
            quoted(" ".join(command.path)), described((below.typed, below.help) for below in command.subcommands),
            described((word, option.help) for word, option in options.items()),
            quoted(" ".join(sorted(word for word, option in options.items() if option.takes_value))))
    paths = "|".join(quoted(" ".join(command.path)) for command in program.all() if len(command.path) > 1)
    return ZSH % (paths, cases)
