"""Makes a Debian package: pack.py server|client --version V --out FILE --program NAME=PATH…

Binaries are stripped; manuals and completion come from what the programs say of themselves. The same inputs give the
same bytes.
"""

import argparse
import gzip
import os
import pathlib
import shutil
import subprocess
import tempfile

import command_line
import manual

FOLDER = pathlib.Path(__file__).resolve().parent
LICENSE = FOLDER.parents[1] / "LICENSE"
SERVICES = ("keyd", "taskd", "enrolld")
# Debian 12's packages of the libraries that the programs link; the test compares.
LIBRARIES = {
    "server": "android-libboringssl, libabsl20220623, libc6, libcurl3-gnutls, libgcc-s1, libgrpc++1.51, libgrpc29, "
              "libprotobuf32, libsqlite3-0, libstdc++6, libzstd1, zlib1g, adduser, systemd",
    "client": "android-libboringssl, libabsl20220623, libargon2-1, libc6, libgcc-s1, libgrpc++1.51, libgrpc29, "
              "libprotobuf32, libqrencode4, libsqlite3-0, libstdc++6, libzstd1",
}
CONTROL = """Package: parley-%(package)s
Version: %(version)s
Architecture: amd64
Maintainer: The Parley authors <parley@example.com>
Section: admin
Priority: optional
Depends: %(libraries)s
Description: %(summary)s
 Parley carries out configuration updates on many machines: offer, fetch, check,
 apply, confirm, roll back.
 .
 %(more)s
"""
DESCRIPTIONS = {
    "server": ("services that coordinate configuration updates",
               "This package has the three services and their systemd units."),
    "client": ("command that makes and takes configuration updates",
               "This package has the parley command, its manual and its completion, and a\n"
               " unit that settles after a boot what an update left undecided."),
}


def put(path, content, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


def put_program(path, source):
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["strip", "-o", path, source], check=True)
    path.chmod(0o755)


def put_manual(root, command, section, version, see_also=()):
    page = manual.page(command, section, version, see_also)
    put(root / ("usr/share/man/man%d/%s.%d.gz" % (section, manual.page_name(command), section)),
        gzip.compress(page.encode(), mtime=0))


def server(root, programs, version):
    """The services; nothing starts before its configuration has been looked at."""
    for service in SERVICES:
        put_program(root / "usr/lib/parley" / service, programs[service])
        command = command_line.read(programs[service], service)
        command.path = ["parley-" + service]
        put_manual(root, command, 8, version, ["systemd.service(5)"])
        unit = "parley-%s.service" % service
        put(root / "usr/lib/systemd/system" / unit, (FOLDER / "server" / unit).read_text())
        put(root / "etc/parley" / (service + ".conf"), (FOLDER / "server" / (service + ".conf")).read_text())
    for unit in ("parley-credential@.path", "parley-credential@.service"):
        put(root / "usr/lib/systemd/system" / unit, (FOLDER / "server" / unit).read_text())
    put(root / "usr/lib/parley/hand-over", (FOLDER / "server/hand-over").read_text(), 0o755)
    # Started by enrolld, for each e-mail.
    put_program(root / "usr/lib/parley/enrolld_mail", programs["enrolld_mail"])
    put(root / "usr/lib/sysusers.d/parley.conf", (FOLDER / "server/sysusers.conf").read_text())
    put(root / "DEBIAN/conffiles", "".join("/etc/parley/%s.conf\n" % service for service in SERVICES))
    for script in ("postinst", "prerm", "postrm"):
        put(root / "DEBIAN" / script, (FOLDER / "server" / script).read_text(), 0o755)


def client(root, programs, version):
    """The command, beside the services where they are installed too, so that `parley up` finds them."""
    put_program(root / "usr/lib/parley/parley", programs["parley"])
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/parley").symlink_to("../lib/parley/parley")
    program = command_line.read(programs["parley"], "parley")
    for command in program.all():
        put_manual(root, command, 1, version)
    unit = "parley-settle@.service"
    put(root / "usr/lib/systemd/system" / unit, (FOLDER / "client" / unit).read_text())
    put(root / "usr/share/bash-completion/completions/parley", manual.bash_completion(program))
    put(root / "usr/share/zsh/vendor-completions/_parley", manual.zsh_completion(program))


def pack(package, programs, version, out):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "root"
        {"server": server, "client": client}[package](root, programs, version)
        put(root / ("usr/share/doc/parley-%s/copyright" % package), LICENSE.read_text())
        summary, more = DESCRIPTIONS[package]
        put(root / "DEBIAN/control", CONTROL % {"package": package, "version": version, "summary": summary,
                                                "more": more, "libraries": LIBRARIES[package]})
        for path in [root, *root.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        made = pathlib.Path(folder) / "package.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, made], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
        shutil.copyfile(made, out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("package", choices=LIBRARIES)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--program", action="append", required=True)
    arguments = parser.parse_args()
    programs = {name: str(pathlib.Path(path).resolve()) for name, path in
                (program.split("=", 1) for program in arguments.program)}
    pack(arguments.package, programs, arguments.version, arguments.out)


if __name__ == "__main__":
    main()
