"""The Debian packages: what is in them, that it is hardened, that manuals and completion say what the programs do."""

import functools
import gzip
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from tests import stack

PACKAGES = stack.RUNFILES / "deploy/packages"
SERVICES = ("keyd", "taskd", "enrolld")
# Of systemd-analyze's 0 to 100, where 100 is no protection at all. What is left is the network, and users.
MOST_EXPOSURE = 20


def output(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True,
                          timeout=stack.TIMEOUT_S, **options).stdout


class Packages(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR")))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.archive, cls.root = {}, {}
        for package in ("server", "client"):
            (cls.archive[package],) = PACKAGES.glob("parley-%s_*.deb" % package)
            cls.root[package] = cls.folder / package
            subprocess.run(["dpkg-deb", "--raw-extract", cls.archive[package], cls.root[package]], check=True)

    def test_control_files_say_what_dpkg_asks(self):
        for package, archive in self.archive.items():
            self.assertEqual(output("dpkg-deb", "--field", archive, "Package").strip(), "parley-" + package)
            self.assertEqual(output("dpkg-deb", "--field", archive, "Architecture").strip(), "amd64")
            # Mode, owner, size …
            for line in output("dpkg-deb", "--contents", archive).splitlines():
                mode, owner = line.split()[:2]
                self.assertEqual(owner, "root/root", line)
                self.assertRegex(mode, r"^(drwxr-xr-x|-rwxr-xr-x|-rw-r--r--|lrwxrwxrwx)$", line)

    def test_every_library_comes_with_a_dependency(self):
        linked = {}
        for package, root in self.root.items():
            for program in (root / "usr/lib/parley").iterdir():
                if program.read_bytes()[:2] == b"#!":
                    continue
                # Only those that it names itself; theirs are theirs.
                needed = set(re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-d", program)))
                for name, path in re.findall(r"^\s*(\S+) => (\S+)", output("ldd", program), re.MULTILINE):
                    if name in needed:
                        linked.setdefault(os.path.realpath(path), set()).add(package)
        for package in self.root:
            named = output("dpkg-deb", "--field", self.archive[package], "Depends").strip()
            brought = set(output("dpkg-query", "--listfiles", *re.split(r",\s*", named)).splitlines())
            for path, packages in linked.items():
                if package in packages:
                    # dpkg may know a file below /usr/lib as below /lib.
                    self.assertTrue({path, path.removeprefix("/usr")} & brought, "%s needs %s" % (package, path))

    def test_the_image_has_what_the_packages_depend_on(self):
        runtime = (stack.RUNFILES / "deploy/docker/Dockerfile").read_text().split("\nFROM ")[2]
        for archive in self.archive.values():
            depends = set(re.split(r",\s*", output("dpkg-deb", "--field", archive, "Depends").strip()))
            # Of every Debian, and what systemd is for.
            for package in depends - {"libc6", "libgcc-s1", "libstdc++6", "adduser", "systemd"}:
                self.assertIn(" %s " % package, runtime)

    def test_units_are_well_formed_and_hardened(self):
        for service in SERVICES:
            unit = self.root["server"] / ("usr/lib/systemd/system/parley-%s.service" % service)
            result = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager",
                                     "--threshold=%d" % MOST_EXPOSURE, unit], capture_output=True, text=True,
                                    check=False)
            self.assertEqual(result.returncode, 0, result.stdout[-600:] + result.stderr)

    def test_units_start_what_the_package_has_with_flags_that_exist(self):
        for service in SERVICES:
            text = (self.root["server"] / ("usr/lib/systemd/system/parley-%s.service" % service)).read_text()
            program, *arguments = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE).group(1).split()
            shipped = self.root["server"] / program.lstrip("/")
            help_text = output(shipped, "--help")
            for flag in (argument for argument in arguments if argument.startswith("--")):
                self.assertIn(flag + " ", help_text)
            configuration = (self.root["server"] / "etc/parley" / (service + ".conf")).read_text()
            for name in re.findall(r"^#?(PARLEY_\w+)=", configuration, re.MULTILINE):
                self.assertIn("Env:%s)" % name, help_text)

    def test_a_newer_credential_is_handed_to_the_service(self):
        units = self.root["server"] / "usr/lib/systemd/system"
        for service in ("taskd", "enrolld"):
            text = (units / ("parley-%s.service" % service)).read_text()
            self.assertIn("\nExecStartPre=+/usr/lib/parley/hand-over %s\n" % service, text)
            self.assertIn(" parley-credential@%s.path\n" % service, text)
            for kind in ("path", "service"):
                instance = self.folder / ("parley-credential@%s.%s" % (service, kind))
                instance.write_text((units / ("parley-credential@.%s" % kind)).read_text()
                                    .replace("/usr/lib/parley/hand-over", "/bin/true"))
                self.addCleanup(instance.unlink)
            result = subprocess.run(["systemd-analyze", "verify", "--man=no", instance, instance.with_suffix(".path")],
                                    capture_output=True, text=True, check=False)
            self.assertNotIn("parley-credential@", result.stderr)
        # The script, with folders and a user of this test.
        script = (self.root["server"] / "usr/lib/parley/hand-over").read_text()
        places = {"/etc/parley": "etc", "/var/lib/parley-keyd/credentials": "keyd", "/run/parley-$service": "run"}
        for path, name in places.items():
            self.assertIn(path, script)
            (self.folder / name).mkdir()
            script = script.replace(path, str(self.folder / name))
        script = script.replace('-o "parley-$service" -g "parley-$service" ', "")
        hand_over = ["/bin/bash", "-c", script, "hand-over", "taskd"]
        refused = subprocess.run(hand_over, capture_output=True, text=True, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertEqual(refused.stderr, "no taskd.credential; start parley-keyd here, or copy the file that keyd made "
                                         "to %s\n" % (self.folder / "etc"))
        given = self.folder / "run/taskd.credential"
        for number, place in enumerate(("keyd", "etc", "keyd")):
            source = self.folder / place / "taskd.credential"
            source.write_text(str(number))
            os.utime(source, (number, number))
            output(*hand_over)
            self.assertEqual((given.read_text(), given.stat().st_mode & 0o777), (str(number), 0o600))
        self.assertEqual([path.name for path in given.parent.iterdir()], [given.name])

    def test_the_unit_that_settles_runs_a_command_that_there_is(self):
        folder = self.root["client"] / "usr/lib/systemd/system"
        (unit,) = folder.iterdir()
        self.assertEqual(unit.name, "parley-settle@.service")
        text = unit.read_text()
        program, command, flag, _ = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE).group(1).split()
        self.assertEqual((program, command), ("/usr/bin/parley", "settle"))
        self.assertIn(flag + " ", self.help(("parley", "settle")))
        # An instance of it, whose program exists here.
        instance = self.folder / "parley-settle@etc-nginx.service"
        instance.write_text(text.replace(program, "/bin/true"))
        self.addCleanup(instance.unlink)
        result = subprocess.run(["systemd-analyze", "verify", "--man=no", instance], capture_output=True, text=True,
                                check=False)
        self.assertNotIn(instance.name, result.stderr)

    def test_manuals_are_whole(self):
        commands, pages = self.commands("parley"), []
        for command in commands:
            with gzip.open(self.root["client"] / ("usr/share/man/man1/%s.1.gz" % "-".join(command)), "rt") as file:
                pages.append(file.read())
            for option in re.findall(r"^  (--[a-z-]+)", self.help(command), re.MULTILINE):
                self.assertIn(option.replace("-", "\\-"), pages[-1], command)
        services = sorted((self.root["server"] / "usr/share/man/man8").iterdir())
        self.assertEqual([path.name for path in services], ["parley-%s.8.gz" % service for service in sorted(SERVICES)])
        self.assertEqual(len(list((self.root["client"] / "usr/share/man/man1").iterdir())), len(commands))
        for path in services:
            with gzip.open(path, "rt") as file:
                pages.append(file.read())
        rendered = subprocess.run(["groff", "-man", "-ww", "-z", "-Kutf8", "-Tutf8"], input="".join(pages), check=True,
                                  capture_output=True, text=True, timeout=stack.TIMEOUT_S)
        self.assertEqual(rendered.stderr, "")

    @functools.lru_cache(maxsize=None)
    def help(self, command):
        return output(self.root["client"] / "usr/bin/parley", *command[1:], "--help")

    def commands(self, *path):
        """Every command, by its own help."""
        found, part = [path], self.help(path).partition("\nSubcommands:\n")[2].partition("\n\n")[0]
        for name in re.findall(r"^  (\S+)", part, re.MULTILINE):
            found += self.commands(*path, name)
        return found

    def complete(self, *words):
        script = self.root["client"] / "usr/share/bash-completion/completions/parley"
        text = output("bash", "-euc", 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _parley; '
                                      'printf "%s\\n" "${COMPREPLY[@]}"', script, *words)
        return [line for line in text.splitlines() if line]

    def test_completion(self):
        self.assertEqual(self.complete("parley", "ta"), ["task"])
        self.assertEqual(self.complete("parley", "task", "pub"), ["publish"])
        self.assertEqual(self.complete("parley", "--output", "json", "task", "create", "x", "--payl"), ["--payload"])
        self.assertEqual(self.complete("parley", "task", "create", "--outp"), ["--output"])
        self.assertEqual(self.complete("parley", "--output", "j"), ["json"])
        # Of the program's own options those that the command takes.
        self.assertEqual(self.complete("parley", "task", "list", "--serv"), ["--server"])
        self.assertEqual(self.complete("parley", "settle", "--serv"), [])
        # Files are bash's own affair.
        self.assertEqual(self.complete("parley", "task", "create", "--payload", "ng"), [])

    def complete_in_zsh(self, *words):
        """What the completion offers, with zsh's own functions replaced by ones that tell."""
        script = self.root["client"] / "usr/share/zsh/vendor-completions/_parley"
        return output("zsh", "-fuc", '_describe() { print -rl -- "${(@P)argv[-1]}" }; _files() { print FILES }; '
                      'words=("${@}"); CURRENT=$#; source "$0"', script, *words).splitlines()

    def test_zsh_completion(self):
        offered = dict(line.split(":", 1) for line in self.complete_in_zsh("parley", ""))
        self.assertEqual({name for name in offered if not name.startswith("-")},
                         {command[1] for command in self.commands("parley") if len(command) == 2})
        self.assertIn("task", offered)
        self.assertTrue(all(offered.values()), offered)
        self.assertIn("publish", [line.split(":")[0] for line in self.complete_in_zsh("parley", "task", "pub")])
        options = [line.split(":")[0] for line in
                   self.complete_in_zsh("parley", "--output", "json", "task", "create", "x", "--payl")]
        self.assertIn("--payload", options)
        self.assertIn("--credential", options)
        self.assertEqual(self.complete_in_zsh("parley", "--output", "j"), ["text", "json"])
        self.assertEqual(self.complete_in_zsh("parley", "task", "create", "--payload", "ng"), ["FILES"])
        self.assertEqual(self.complete_in_zsh("parley", "restore", "x"), ["FILES"])
        options = [line.split(":")[0] for line in self.complete_in_zsh("parley", "settle", "--")]
        self.assertIn("--into", options)
        self.assertNotIn("--server", options)

    def test_command_starts_from_its_place(self):
        self.assertRegex(output(self.root["client"] / "usr/bin/parley", "--version"), r"^parley \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    unittest.main()
